"""One writer a log: an OS lock on `<log>.lock`, held for the writer's life and gone when its process is.

The file's text names the owner for people; only the lock itself decides."""

from __future__ import annotations

import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path

import portalocker

from telemetry.errors import LogHeld, LogUnwritable

GRACE_S = 0.1
"""For a writer that is about to end; otherwise it holds the lock for its life."""
LOOK_S = 10.0
"""A look at the lock takes microseconds, unless the machine stops whoever looks."""
PAUSE_S = 0.01


def lock_owner(log: Path) -> str | None:
    """Who writes the log now, in the words of its lock file; None when nobody does."""
    path = log.with_name(log.name + ".lock")
    if not path.exists():
        return None
    with path.open(encoding="utf-8") as file:
        try:
            portalocker.lock(file, portalocker.LockFlags.SHARED | portalocker.LockFlags.NON_BLOCKING)
        except portalocker.LockException:
            return file.read().strip() or "a process that has not written its name yet"
    return None


class WriterLock:
    """Held from construction to `release`. Raises `LogHeld` when another writer lives, `LogUnwritable` when the
    folder takes no file."""

    def __init__(self, log: Path) -> None:
        path = log.with_name(log.name + ".lock")
        try:
            self._file = path.open("a+", encoding="utf-8")
        except OSError as error:
            raise LogUnwritable(
                f"{log} cannot be opened for writing: {error.strerror} ({path}). Nothing was changed. "
                "Choose a folder you may write to, or open it for reading."
            ) from error
        try:
            self._take()
        except portalocker.LockException as error:
            self._file.seek(0)
            owner = self._file.read().strip() or "a process that has not written its name yet"
            self._file.close()
            raise LogHeld(
                f"{log} is held by {owner}. The log is intact and can be read; to write to it, end that process first.",
                owner=owner,
            ) from error
        self._file.truncate(0)
        started = datetime.now(UTC).isoformat(timespec="seconds")
        self._file.write(f"pid {os.getpid()} on {socket.gethostname()} since {started}\n")
        self._file.flush()

    def _take(self) -> None:
        """Tries for GRACE_S, and for LOOK_S where only `lock_owner` holds the lock for the moment in which it looks."""
        began = time.monotonic()
        while True:
            try:
                return portalocker.lock(
                    self._file, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING
                )
            except portalocker.LockException:
                if time.monotonic() - began > (GRACE_S if self._has_writer() else LOOK_S):
                    raise
                time.sleep(PAUSE_S)

    def _has_writer(self) -> bool:
        """Whether anybody holds it who does not only look."""
        try:
            portalocker.lock(self._file, portalocker.LockFlags.SHARED | portalocker.LockFlags.NON_BLOCKING)
        except portalocker.LockException:
            return True
        portalocker.unlock(self._file)
        return False

    def release(self) -> None:
        self._file.truncate(0)
        self._file.close()
