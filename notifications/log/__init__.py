"""The log: the shared, retained record of events, and the only thing that crosses processes."""
