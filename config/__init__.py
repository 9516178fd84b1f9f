"""The project that runs the app. No module of the app imports it."""
