"""Opening the SQLite file: pragmas, what is a log and what is not, and connections to read with.

Invariant: a file that is not a log is never changed."""

from __future__ import annotations

import os
import sqlite3
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from telemetry.errors import LogClosed, LogDamaged, LogError, LogNotFound, LogUnwritable
from telemetry.log.sqlite.lock import lock_owner

FORMAT = 1
"""Version of the tables; a log of a newer one is refused."""

BUSY_S = 5.0
"""How long a write waits for a foreign tool that has locked the file."""

WAL_PAGES = 4_000
"""16 MiB of WAL between checkpoints."""


def open_for_writing(path: Path, *, create: bool) -> tuple[sqlite3.Connection, str]:
    """A connection for the holder of the writer's lock, and the log's id; makes the log where `create` allows."""
    try:
        connection = _connect(f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}")
        try:
            if create and not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                _make(connection)
            log_id = identify(connection, path)
            if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
                raise LogUnwritable(f"{path} lies on a file system without shared memory, which a log needs; move it.")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
            connection.execute(f"PRAGMA journal_size_limit = {WAL_PAGES * 4096 * 4}")
        except BaseException:
            connection.close()
            raise
    except sqlite3.OperationalError as error:
        raise LogUnwritable(f"{path} cannot be opened for writing: {error}. Nothing was changed.") from error
    except sqlite3.DatabaseError as error:
        raise _not_a_log(path, str(error)) from error
    return connection, log_id


def open_for_reading(path: Path) -> tuple[Readers, str]:
    """Connections that never write, and the log's id. A cleanly closed log is read even where no file can be
    made beside it, and a truncated one as far as it goes. Raises `LogNotFound`, `LogDamaged`."""
    if not path.exists():
        raise LogNotFound(f"there is no log at {path}. Check the path, or run something that writes one.")
    try:
        return _identified(Readers(path), path)
    except LogDamaged:
        if lock_owner(path) is not None and not _has_wal(path):
            raise  # it is being made, and what is read as at rest is never looked at again
        return open_at_rest(path)


def open_at_rest(path: Path) -> tuple[Readers, str]:
    """The same for a log that nobody writes: no file of it is changed or made, and what is broken is read past as far
    as SQLite can. Only a WAL whose `-shm` is missing gets one, which holds no event. The id is empty where it cannot
    be read. Raises `LogNotFound`, `LogDamaged`."""
    if not path.exists():
        raise LogNotFound(f"there is no log at {path}. Check the path, or run something that writes one.")
    if not _has_wal(path):
        options = "immutable=1"
    else:
        options = "mode=ro&readonly_shm=1" if path.with_name(f"{path.name}-shm").exists() else "mode=ro"
    return _identified(Readers(path, options=options, lenient=True), path, lenient=True)


def files_of(path: Path) -> list[os.stat_result]:
    """Of the log's file and its WAL those that are there: the last who closes the log removes its WAL."""
    found: list[os.stat_result] = []
    for file in (path, path.with_name(f"{path.name}-wal")):
        with suppress(FileNotFoundError):
            found.append(file.stat())
    return found


def _has_wal(path: Path) -> bool:
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size > 0
    except FileNotFoundError:  # the last who closes the log removes it
        return False


def identify(connection: sqlite3.Connection, path: Path, *, lenient: bool = False) -> str:
    """The log's id. Raises `LogDamaged` for what is no log, `LogError` for one of a newer version."""
    try:
        row = connection.execute("SELECT id, format FROM log").fetchone()
        log_id, found = row or ("", None)
        if not isinstance(found, int):
            raise sqlite3.DatabaseError("it has no id")
    except sqlite3.DatabaseError as error:
        if lenient and _has_events(connection):
            return ""
        raise _not_a_log(path, str(error)) from error
    if found > FORMAT:
        raise LogError(f"{path} is of format {found}, this version reads up to {FORMAT}. It is intact; upgrade.")
    return str(log_id)


def _has_events(connection: sqlite3.Connection) -> bool:
    try:
        return bool(connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'events'").fetchone()[0])
    except sqlite3.DatabaseError:
        return False


def _identified(readers: Readers, path: Path, *, lenient: bool = False) -> tuple[Readers, str]:
    try:
        with readers.use() as connection:
            return readers, identify(connection, path, lenient=lenient)
    except sqlite3.DatabaseError as error:
        readers.close()
        raise _not_a_log(path, str(error)) from error
    except LogError:
        readers.close()
        raise


class Readers:
    """Connections for short reads from any thread, kept for the next one.

    `options` of the file's URI say how it is opened; `lenient` reads one that is shorter than it says it is."""

    def __init__(self, path: Path, *, options: str = "mode=ro", lenient: bool = False) -> None:
        self._path = path
        self._lenient = lenient
        self._uri = f"{path.absolute().as_uri()}?{options}"
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def use(self) -> Iterator[sqlite3.Connection]:
        """Raises `LogClosed`."""
        with self._lock:
            if self._closed:
                raise LogClosed(f"{self._path} was closed; open it again to read on.")
            idle = self._idle.pop() if self._idle else None
        connection = idle or self._connect()
        try:
            yield connection
        finally:
            with self._lock:
                keep = not self._closed
                if keep:
                    self._idle.append(connection)
            if not keep:
                connection.close()

    def _connect(self) -> sqlite3.Connection:
        connection = _connect(self._uri)
        if self._lenient:
            # on a connection that cannot write, this only lifts the check of the file's length
            connection.execute("PRAGMA writable_schema = ON")
        return connection

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


def _connect(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False)


def _make(connection: sqlite3.Connection) -> None:
    from telemetry.log.schema import sqlite_ddl  # SQLModel is slow to import and only needed once in a log's life

    connection.execute("BEGIN IMMEDIATE")
    for statement in sqlite_ddl():
        connection.execute(statement)
    connection.execute("INSERT INTO log (id, format) VALUES (?, ?)", (str(uuid.uuid4()), FORMAT))
    connection.execute("COMMIT")


def _not_a_log(path: Path, why: str) -> LogDamaged:
    return LogDamaged(f"{path} cannot be read as a log: {why}. It was not touched. Check the path, or restore a copy.")
