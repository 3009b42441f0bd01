"""The stores that the contract suite runs against. Another store joins by a class here and a line in STORES."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Protocol

import psycopg
import pytest

from telemetry.events import Draft, Recorded, learn
from telemetry.log import EventLog, open_log
from telemetry.log.postgres.writer import LOCK
from tests.aether import wait_until
from tests.postgres import Server, drop


class Store(Protocol):
    """A place for one log, and ways to do to it what its users must never see unnoticed."""

    url: str

    def open(self, *, mode: Literal["write", "read"] = "write", create: bool = True) -> EventLog:
        """Closed by the fixture."""

    def alter(self, event: Recorded, column: str, value: object) -> None:
        """Overwrites one stored column of one event of a closed log."""

    def delete(self, where: str) -> None:
        """Removes the events of a closed log for which the SQL condition holds."""

    def alter_blob(self, digest: str, content: bytes | None) -> None:
        """Overwrites a stored blob, or removes it."""

    @contextmanager
    def locked(self) -> Iterator[None]:
        """While inside, no commit can come about."""

    def let_end(self, pid: int) -> None:
        """Returns when nothing is under way any more of what a process did that was killed and waited for."""

    def close(self) -> None: ...


class SqliteStore:
    def __init__(self, request: pytest.FixtureRequest) -> None:
        folder: Path = request.getfixturevalue("tmp_path")
        self.path = folder / "log.db"
        self.url = f"sqlite:///{self.path}"
        self._opened: list[EventLog] = []

    def open(self, *, mode: Literal["write", "read"] = "write", create: bool = True) -> EventLog:
        self._opened.append(open_log(self.url, mode=mode, create=create))
        return self._opened[-1]

    def alter(self, event: Recorded, column: str, value: object) -> None:
        self._execute(f'UPDATE events SET "{column}" = ? WHERE position = ?', (value, event.position))

    def delete(self, where: str) -> None:
        self._execute(f"DELETE FROM events WHERE {where}", ())

    def alter_blob(self, digest: str, content: bytes | None) -> None:
        path = self.path.with_name("log.db.blobs") / digest[:2] / digest
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)

    @contextmanager
    def locked(self) -> Iterator[None]:
        connection = sqlite3.connect(self.path, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.close()

    def let_end(self, pid: int) -> None:
        """The system has closed its files, and with them its locks."""

    def close(self) -> None:
        for log in self._opened:
            log.close()

    def _execute(self, statement: str, values: tuple[object, ...]) -> None:
        connection = sqlite3.connect(self.path, isolation_level=None)
        assert connection.execute(statement, values).rowcount > 0
        connection.close()


class PostgresStore:
    def __init__(self, request: pytest.FixtureRequest) -> None:
        server: Server = request.getfixturevalue("server")
        self.url = server.schema()
        self._opened: list[EventLog] = []

    def open(self, *, mode: Literal["write", "read"] = "write", create: bool = True) -> EventLog:
        self._opened.append(open_log(self.url, mode=mode, create=create))
        return self._opened[-1]

    def alter(self, event: Recorded, column: str, value: object) -> None:
        self._execute(f'UPDATE events SET "{column}" = %s WHERE position = %s', (value, event.position))

    def delete(self, where: str) -> None:
        self._execute(f"DELETE FROM events WHERE {where}", ())

    def alter_blob(self, digest: str, content: bytes | None) -> None:
        if content is None:
            self._execute("DELETE FROM blobs WHERE digest = %s", (digest,))
        else:
            self._execute("UPDATE blobs SET content = %s WHERE digest = %s", (content, digest))

    @contextmanager
    def locked(self) -> Iterator[None]:
        with psycopg.connect(self.url) as connection:
            connection.execute(LOCK)
            yield

    def let_end(self, pid: int) -> None:
        """The server carries out what it was sent before it notices that nobody is there any more."""
        of_it = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE %s"
        with psycopg.connect(self.url, autocommit=True) as connection:
            wait_until(
                lambda: connection.execute(of_it, (f"%/{pid}",)).fetchone() == (0,),
                timeout_s=60,
                what="the server lets a killed process go",
            )

    def close(self) -> None:
        for log in self._opened:
            log.close()
        drop(self.url)

    def _execute(self, statement: str, values: tuple[object, ...]) -> None:
        with psycopg.connect(self.url) as connection:
            assert connection.execute(statement, values).rowcount > 0


STORES: dict[str, Callable[[pytest.FixtureRequest], Store]] = {"sqlite": SqliteStore, "postgresql": PostgresStore}


def note(text: str = "", *, command: str = "c", ordinal: int = 0) -> Draft:
    """A draft whose payload is told apart by `text`."""
    return Draft(event=learn.Corrected(retry_of="session/a@1", why=text), command=command, ordinal=ordinal)


def notes(count: int, *, command: str = "c", text: str = "") -> list[Draft]:
    """`count` drafts of one command."""
    return [note(f"{text}{ordinal}", command=command, ordinal=ordinal) for ordinal in range(count)]


def fill(log: EventLog, stream: str, appends: int, *, each: int = 1) -> tuple[Recorded, ...]:
    """Appends to a stream that is new, and returns all of it."""
    kept: list[Recorded] = []
    for number in range(appends):
        drafts = notes(each, command=f"c{number}", text=f"{stream} {number} ")
        kept += log.append(stream, drafts, expected_version=len(kept), epoch=1)
    return tuple(kept)


def why(event: Recorded) -> str:
    """The text that `note` put in."""
    assert isinstance(event.event, learn.Corrected)
    return event.event.why


@contextmanager
def held(log: EventLog) -> Iterator[None]:
    """Everything submitted inside waits together and is one group: a callback keeps the writer's thread until the
    end. Appends one event to the stream `plug` for every attempt to get there before the writer is done."""
    caller, entered, release = threading.current_thread(), threading.Event(), threading.Event()
    missed = False

    def hold(_: object) -> None:
        nonlocal missed
        if threading.current_thread() is caller:  # it had resolved before the callback was there
            missed = True
        else:
            entered.set()
            release.wait()

    version = 0
    while True:
        plug = log.submit("plug", [note(command=f"{version}")], expected_version=version, epoch=1)
        plug.add_done_callback(hold)
        if not missed:
            break
        missed, version = False, version + 1
    entered.wait()
    try:
        yield
    finally:
        release.set()
