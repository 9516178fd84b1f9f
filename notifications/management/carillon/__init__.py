"""The subcommands of `manage.py carillon`, one module each, and what they share."""
