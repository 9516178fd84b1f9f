"""Carillon beside its peers, on one machine, in one run, by one referee: `./run bench`."""
