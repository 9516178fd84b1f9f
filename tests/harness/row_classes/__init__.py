"""A site whose rows of users, groups, permissions and keys are stored through several classes."""
