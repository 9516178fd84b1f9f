"""Example pages that stream, to look at and to copy."""
