"""The project that runs the app; nothing imports it."""
