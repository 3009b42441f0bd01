"""Files that are on disk when the call returns, small ones that are replaced whole (written aside, fsynced, renamed,
and their folder fsynced), and the digest of several."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from telemetry.events.values import Digest


def replace_file(path: Path, content: bytes) -> None:
    """Returns when `content` is on disk under that name; a kill before leaves what stood there. One caller at a time,
    as the copy aside has a name of its own. Raises `OSError`, and leaves no copy then."""
    aside = path.with_name(path.name + ".new")
    try:
        write_file(aside, content)
        aside.replace(path)
    except OSError:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_file(path: Path, content: bytes) -> None:
    """Returns when `content` is on disk; its name is there for good once its folder is. Raises `OSError`."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Puts what a file holds, or the names that are in a folder, on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest_files(files: Iterable[Path]) -> Digest:
    """SHA-256 over the names, folders' names and contents of `files`, in this order. Raises `OSError`."""
    sha = hashlib.sha256()
    for file in files:
        content = file.read_bytes()
        sha.update(f"{file.parent.name}/{file.name} {len(content)}\n".encode())
        sha.update(content)
    return sha.hexdigest()
