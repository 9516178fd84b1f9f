"""Whole systems of several processes in one thread, with a clock of their own, from a seed."""
