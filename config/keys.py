"""Secrets made once and kept, each in a file that only its owner can read."""

import os
import secrets
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile


def kept(path: Path, *, size: int) -> str:
    """The secret in this file; where there is no file, one of `size` random bytes is made first."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # Linked when it is whole, so that of several processes that start together all read one.
        with NamedTemporaryFile("w", dir=path.parent) as draft:
            draft.write(f"{secrets.token_urlsafe(size)}\n")
            draft.flush()
            with suppress(FileExistsError):
                os.link(draft.name, path)
    return path.read_text().strip()
