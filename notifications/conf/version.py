"""The version of this package, which `pyproject.toml` repeats for the wheel."""

VERSION = "0.1.0"
