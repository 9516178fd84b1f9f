"""What people choose: by which channels they are told of which category, and when."""
