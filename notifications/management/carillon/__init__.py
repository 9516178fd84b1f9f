"""The subcommands of `manage.py carillon`: one module each, named after its command."""
