"""An application whose users and orders have text as primary keys, as many sites have."""
