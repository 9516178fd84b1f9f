"""Secrets that are created once, each in a file that only its owner can read."""

import os
import secrets
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile


def read_or_create_secret(path: Path, *, size: int) -> str:
    """The secret in this file. A missing file is created first, with `size` random bytes."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # Linked once it is complete, so that processes that start together read the same secret.
        with NamedTemporaryFile("w", dir=path.parent) as draft:
            draft.write(f"{secrets.token_urlsafe(size)}\n")
            draft.flush()
            with suppress(FileExistsError):
                os.link(draft.name, path)
    return path.read_text().strip()
