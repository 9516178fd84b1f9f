"""The retained log as a file: `/events/history.csv`, `.ndjson` and `.json`."""
