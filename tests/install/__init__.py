"""The wheel, installed into a site that somebody just started, under each server."""
