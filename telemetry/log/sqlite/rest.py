"""Looking at a log that may be damaged: the original is the evidence, so nothing of it is changed.

Knows when a file is at rest; how it is read then, the store knows. Invariant: what was read was not written to
meanwhile, or its reader is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from telemetry.errors import LogHeld
from telemetry.log import EventLog, is_postgres, open_log, sqlite_path


@contextmanager
def examined(url: str | Path) -> Iterator[EventLog]:
    """The log at `url`, opened for reading and closed at the end. A file without a live writer is read without a
    trace, as far as it can be read.

    Raises what `open_log` does, and at the end `LogHeld` when somebody began to write a file that was read so: pages
    may have been torn."""
    path = _at_rest(url)
    if path is None:
        log = open_log(url, mode="read")
        try:
            yield log
        finally:
            log.close()
        return
    from telemetry.log.sqlite.database import open_sqlite
    from telemetry.log.sqlite.lock import lock_owner

    before = _marks(path)
    log = open_sqlite(path, mode="rest")
    try:
        yield log
    finally:
        log.close()
    owner = lock_owner(path)
    if owner is not None or before != _marks(path):
        owner = owner or "a process that has ended since"
        raise LogHeld(
            f"{path} was written by {owner} while it was read as a log at rest, so what was read may be torn. "
            "Nothing was changed by reading. Run it again.",
            owner=owner,
        )


def _at_rest(url: str | Path) -> Path | None:
    """The log's file, if it is one and nobody writes it."""
    from telemetry.log.sqlite.lock import lock_owner

    if is_postgres(url):
        return None
    path = sqlite_path(url)
    return path if path.exists() and lock_owner(path) is None else None


def _marks(path: Path) -> list[tuple[int, int]]:
    """What changes when a file or its WAL is written."""
    from telemetry.log.sqlite.connect import files_of

    return [(file.st_size, file.st_mtime_ns) for file in files_of(path)]
