"""The wheel, installed into a new Django site, under each server."""
