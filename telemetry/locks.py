"""A file that at most one process holds, and that names it for people.

Knows one file; only the lock itself decides. Invariant: it ends with its process, however that ends."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import IO

import portalocker

SOMEBODY = "another process"


def hold(path: Path) -> IO[str] | None:
    """The file, held until it is closed; None where another process holds it. Who holds it may remove it. Raises
    `OSError` where it cannot be written."""
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            portalocker.lock(file, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
        except portalocker.LockException:
            file.close()
            return None
        if _stands(file, path):
            break
        file.close()  # it was removed by who held it, so another can be held under that name
    file.truncate(0)
    file.write(f"pid {os.getpid()} on {socket.gethostname()}\n")
    file.flush()
    return file


def _stands(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def holder(path: Path) -> str:
    """Who holds it, in words."""
    try:
        return path.read_text(encoding="utf-8").strip() or SOMEBODY
    except OSError:
        return SOMEBODY
