"""One at a time: of all processes of a home at most one learns by a schedule.

Knows one file. Invariant: the lock ends with its process, however that ends."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Final

from telemetry.locks import hold, holder

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
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = hold(self._path)
        return self._file is not None

    def holder(self) -> str:
        """Who is the one, in words."""
        return holder(self._path)

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
