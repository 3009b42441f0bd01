"""One at a time: of all processes of a home at most one learns by a schedule.

Knows one file. Invariant: the lock ends with its process, however that ends."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import IO, Final

import portalocker

FILE: Final = "schedule.lock"
"""In the folder of trainings; it names who learns."""


class Alone:
    """May be asked for any number of times; once it is held, until `release`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._file: IO[str] | None = None

    def held(self) -> bool:
        """Whether this process is the one, which it becomes where no other is. Raises `OSError` where the folder cannot
        be written."""
        if self._file is not None:
            return True
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("a+", encoding="utf-8")
        try:
            portalocker.lock(file, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
        except portalocker.LockException:
            file.close()
            return False
        file.truncate(0)
        file.write(f"pid {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        self._file = file
        return True

    def holder(self) -> str:
        """Who is the one, in words."""
        try:
            return self._path.read_text(encoding="utf-8").strip() or "another process"
        except OSError:
            return "another process"

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
