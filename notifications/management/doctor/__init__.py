"""A probe of streams through whatever stands in front of them: what `carillon doctor` asks."""
