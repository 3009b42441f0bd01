"""Connections to a PostgreSQL log: how they are made and kept, what is a log and what is not.

Knows psycopg and the server's words. Invariant: no message and no exception holds a password, and a database that
holds no log is changed by nobody but the writer who makes one."""

from __future__ import annotations

import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import psycopg
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from telemetry.errors import LogClosed, LogDamaged, LogError, LogNotFound, LogUnreachable, LogUnwritable
from telemetry.log.rows import Row
from telemetry.log.urls import HIDDEN, postgres_uri, secrets_of, shown

logging.getLogger("psycopg").addHandler(logging.NullHandler())  # what it warns of is raised as well

Connection: TypeAlias = psycopg.Connection[Row]

FORMAT = 1
"""Version of the tables; a log of a newer one is refused."""

PATIENCE_S = 20.0
"""How long a server that restarts is waited for before an append or a read fails."""
CONNECT_TIMEOUT_S = 5
LOCK_TIMEOUT_MS = 10_000
"""A writer that holds the log's lock for longer hangs; a commit takes milliseconds."""
IDLE_TIMEOUT_MS = 5_000
"""The server ends a transaction that its writer left open for so long, and with it gives the lock to the next."""
DEFAULTS: dict[str, str | int | None] = {
    "connect_timeout": CONNECT_TIMEOUT_S,
    "client_encoding": "UTF8",
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""A server that is gone without a word is given up after about 10 s; what the URL says comes first."""
MAX_READERS = 4
"""Connections that one open log reads with at once; a server takes 100 by default."""
WRITER, READER = "aether writer", "aether"
MAKING = 0x61657468
"""Advisory lock of those who make a log: two may come at once."""

# The server, too, gives up a host whose machine is gone, and with it the lock.
SESSION = f"""SELECT set_config('lock_timeout', '{LOCK_TIMEOUT_MS}', false),
set_config('idle_in_transaction_session_timeout', '{IDLE_TIMEOUT_MS}', false),
set_config('tcp_keepalives_idle', '5', false), set_config('tcp_keepalives_interval', '2', false),
set_config('tcp_keepalives_count', '3', false), set_config('tcp_user_timeout', '10000', false),
set_config('default_transaction_isolation', 'read committed', false),
set_config('synchronous_commit',
    CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END,
    false)"""

PASSING = (
    errors.AdminShutdown,
    errors.CrashShutdown,
    errors.CannotConnectNow,
    errors.IdleInTransactionSessionTimeout,
    errors.LockNotAvailable,
    errors.SerializationFailure,
    errors.DeadlockDetected,
)
"""What another try may not meet again."""


def passing(error: psycopg.Error, connection: Connection) -> bool:
    """Whether the same may go well on another try, or another connection."""
    return isinstance(error, PASSING) or (connection.closed and isinstance(error, psycopg.OperationalError))


class Server:
    """Makes connections to one URL."""

    def __init__(self, url: str) -> None:
        """Raises `LogError` when the URL cannot be meant."""
        self.name = shown(url)
        self._secrets = secrets_of(url)
        try:
            given = conninfo_to_dict(postgres_uri(url))
        except psycopg.Error as error:
            raise LogError(f"{self.name} is no URL that PostgreSQL reads: {self.words(error)}.") from None
        self._conninfo = make_conninfo("", **{**DEFAULTS, **given})

    def connect(self, role: str = READER) -> Connection:
        """A new connection, which the server shows as this process in that `role`; every statement is a transaction
        until one is begun. Raises `LogUnreachable`, `LogNotFound` where there is no such database, `LogError` where the
        server lets nobody in by that name."""
        try:
            name = f"{role} {platform.node()}/{os.getpid()}"
            connection: Connection = psycopg.connect(self._conninfo, autocommit=True, application_name=name)
            connection.execute(SESSION)
        except psycopg.Error as error:
            raise self._refused(error) from None
        return connection

    def words(self, error: Exception) -> str:
        """What the server or its client said, in one line and without a password."""
        text = " ".join(str(error).split()).removeprefix("connection failed: ").rstrip(".")
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text

    def unreachable(self, error: Exception) -> LogUnreachable:
        return LogUnreachable(
            f"{self.name} does not answer: {self.words(error)}. All acknowledged events are intact. Start the server "
            "or look at the way to it, then try again."
        )

    def _refused(self, error: psycopg.Error) -> LogError:
        text = self.words(error)
        if "database" in text and "does not exist" in text:  # libpq gives no code for a refused connection
            return LogNotFound(f"there is no log at {self.name}: {text}. Check the URL, or make it with createdb.")
        if "authentication failed" in text or "no password supplied" in text or "no pg_hba.conf entry" in text:
            return LogError(
                f"{self.name} lets nobody in by that name: {text}. Nothing was changed. Put the password into the URL, "
                "PGPASSWORD or ~/.pgpass."
            )
        return self.unreachable(error)


class Patience:
    """Waits between tries, a little longer each time, until it is used up."""

    def __init__(self, patience_s: float) -> None:
        self._until = time.monotonic() + patience_s
        self._pause_s = 0.02

    def wait(self) -> bool:
        """Whether another try is due, after a pause."""
        if time.monotonic() + self._pause_s > self._until:
            return False
        time.sleep(self._pause_s)
        self._pause_s = min(2 * self._pause_s, 0.5)
        return True


class Readers:
    """Connections for short statements from any thread, kept for the next one and made anew where they broke."""

    def __init__(self, server: Server, *, first: Connection | None = None) -> None:
        self._server = server
        self._idle = [] if first is None else [first]
        self._free = threading.BoundedSemaphore(MAX_READERS)
        self._lock = threading.Lock()
        self._closed = False

    def rows(self, query: str, values: Sequence[str | int | bytes]) -> list[Row]:
        """The rows of one statement that may be repeated. Waits for a server that restarts. Raises `LogClosed`,
        `LogUnreachable` when that takes too long, and what the statement raises."""
        patience = Patience(PATIENCE_S)
        while True:
            try:
                return self._once(query, values)
            except LogUnreachable:
                if not patience.wait():
                    raise

    def _once(self, query: str, values: Sequence[str | int | bytes]) -> list[Row]:
        with self.use() as connection:
            try:
                cursor = connection.execute(query, values, binary=True)
                return cursor.fetchall() if cursor.description is not None else []
            except psycopg.Error as error:
                if not passing(error, connection):
                    raise
                raise self._server.unreachable(error) from None

    @contextmanager
    def use(self) -> Iterator[Connection]:
        """Raises `LogClosed`, and what `Server.connect` raises."""
        with self._free:
            with self._lock:
                if self._closed:
                    raise LogClosed(f"{self._server.name} was closed; open it again to read on.")
                idle = self._idle.pop() if self._idle else None
            connection = idle or self._server.connect()
            try:
                yield connection
            finally:
                with self._lock:
                    keep = not self._closed
                    if keep and not connection.closed:
                        self._idle.append(connection)
                if not keep:
                    connection.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


def identify(connection: Connection, name: str) -> str | None:
    """The log's id; None where there is no log. Raises `LogDamaged` for tables that are not a log's, `LogError` for
    one of a newer version."""
    found = connection.execute("SELECT to_regclass('log') IS NOT NULL, to_regclass('events') IS NOT NULL").fetchone()
    if found == (False, False):
        return None
    try:
        row = connection.execute("SELECT id, format FROM log").fetchone()
        connection.execute("SELECT position, hash FROM events LIMIT 0")
    except errors.InsufficientPrivilege as error:
        raise LogError(f"{name} cannot be read by this user: {error}. It is intact; ask its owner.") from None
    except psycopg.ProgrammingError as error:
        raise _not_a_log(name, str(error).partition("\n")[0]) from None
    if row is None:
        raise _not_a_log(name, "it has no id")
    log_id, format_ = row
    if int(format_) > FORMAT:
        raise LogError(f"{name} is of format {format_!r}, this version reads up to {FORMAT}. It is intact; upgrade.")
    return str(log_id)


def make(connection: Connection, server: Server) -> str:
    """Makes the log, unless somebody else just did; its id. Raises `LogUnwritable` where that is not allowed."""
    try:
        connection.execute("SELECT pg_advisory_lock(%s)", (MAKING,))  # the next transaction sees what its holder made
        try:
            return identify(connection, server.name) or _made(connection, server.name)
        finally:
            connection.execute("SELECT pg_advisory_unlock(%s)", (MAKING,))
    except psycopg.Error as error:
        raise LogUnwritable(
            f"no log can be made at {server.name}: {server.words(error)}. Nothing was changed."
        ) from None


def _made(connection: Connection, name: str) -> str:
    from telemetry.log.schema import postgres_ddl  # SQLModel is slow to import and only needed once in a log's life

    if connection.info.parameter_status("server_encoding") != "UTF8":
        raise LogUnwritable(f"{name} does not keep text as UTF-8; make the database with ENCODING 'UTF8'.")
    log_id = str(uuid.uuid4())
    with connection.transaction():
        for statement in postgres_ddl():
            connection.execute(sql.SQL(statement))
        connection.execute("INSERT INTO log (id, format) VALUES (%s, %s)", (log_id, FORMAT))
    return log_id


def check_durable(connection: Connection, name: str) -> None:
    """Raises `LogUnwritable` where the server acknowledges what is not on disk."""
    row = connection.execute("SHOW fsync").fetchone()
    if row is not None and row[0] != "on":
        raise LogUnwritable(
            f"{name} runs with fsync = {row[0]!r}, so nothing that it acknowledges is on disk. Nothing was changed; "
            "set fsync = on in postgresql.conf."
        )


def _not_a_log(name: str, why: str) -> LogDamaged:
    return LogDamaged(
        f"{name} cannot be read as a log: {why}. It was not touched. Check the URL, or restore a copy; a schema of its "
        "own is chosen with ?options=-csearch_path%3DNAME"
    )
