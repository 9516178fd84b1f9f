"""A site whose knox tokens are a model of its own."""
