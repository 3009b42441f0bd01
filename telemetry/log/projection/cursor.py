"""A subscriber's place in a log, kept under a name. Knows a file; what was done with the events, its owner knows.

Invariant: the file names a position up to which the owner said everything was done, or is not there."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import portalocker
from pydantic import BaseModel, ConfigDict, ValidationError

from telemetry.errors import CursorHeld, CursorRefused, LogUnwritable
from telemetry.files import replace_file
from telemetry.log.store import EventLog

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid")

    log: str
    position: int


class Cursor:
    """The cursor `name` in `folder`, of one process at a time and of one log for its life.

    A subscriber moves it once it is done with what it was handed, and after a kill goes on from there: it is handed
    everything at least once, and again what it had not moved past."""

    def __init__(self, log: EventLog, name: str, *, folder: Path) -> None:
        """`name` is one of NAME. Raises `CursorRefused`, and `LogUnwritable` where nothing can be written."""
        assert NAME.fullmatch(name), name
        self._log = log.id
        self._path = folder / f"{name}.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = folder.joinpath(f"{name}.lock").open("a")
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            portalocker.lock(self._lock, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
        except portalocker.LockException as error:
            self._lock.close()
            raise CursorHeld(f"another process follows as {name}; end it first, or choose another name") from error
        try:
            self._position = self._read(head=log.position())
        except BaseException:
            self._lock.close()
            raise

    @property
    def position(self) -> int | None:
        """Up to where everything was done; None for a cursor that was never moved."""
        return self._position

    def move(self, position: int) -> None:
        """Returns when that is on disk. Raises `LogUnwritable`, and the cursor stays where it was."""
        if position == self._position:
            return
        kept = _Kept(log=self._log, position=position)
        try:
            replace_file(self._path, kept.model_dump_json().encode())
        except OSError as error:
            raise self._unwritable(error) from error
        self._position = position

    def close(self) -> None:
        """Lets another process have it. May be called twice."""
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, *, head: int) -> int | None:
        try:
            kept = _Kept.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise CursorRefused(f"the cursor {self._path} cannot be read: {error}. {_AFRESH}") from error
        if kept.log != self._log:
            raise CursorRefused(f"the cursor {self._path} is of another log ({kept.log}). {_AFRESH}")
        if kept.position > head:
            raise CursorRefused(
                f"the cursor {self._path} is at position {kept.position}, and the log ends at {head}: it is an older "
                f"copy of the one that was followed. {_AFRESH}"
            )
        return kept.position

    def _unwritable(self, error: OSError) -> LogUnwritable:
        return LogUnwritable(
            f"the cursor {self._path} cannot be written: {error.strerror}. The log is intact; make room, or follow "
            "without a cursor"
        )


def kept_places(folder: Path, log: str) -> dict[str, int]:
    """Where each cursor in `folder` stands that is of the log with that id, by its name. What cannot be read is left
    out: its owner says what is wrong with it."""
    found: dict[str, int] = {}
    for path in sorted(folder.glob("*.json")):
        with suppress(OSError, ValidationError):
            kept = _Kept.model_validate_json(path.read_bytes())
            if kept.log == log:
                found[path.stem] = kept.position
    return found


_AFRESH = "The log is intact. Remove that file to begin anew, or choose another name"
