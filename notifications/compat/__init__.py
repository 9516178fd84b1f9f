"""APIs and protocols of other packages, for sites that migrate without changes to their code."""
