"""A site that mails what nobody has seen: see `tests.harness.mail_settings`."""
