"""The log: an append-only sequence of events in streams, durable before it is acknowledged.

Knows URLs; each store knows itself and is imported when one is opened, so that importing this costs nothing.
Invariant: whatever the store, `EventLog` keeps the promises in its docstrings."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from telemetry.log.seal import Seal
from telemetry.log.store import Batch, EventLog, Head, Subscription
from telemetry.log.urls import is_postgres, shown, sqlite_path
from telemetry.log.verify import Problem, VerifyReport

__all__ = [
    "Batch",
    "EventLog",
    "Head",
    "Problem",
    "Seal",
    "Subscription",
    "VerifyReport",
    "is_postgres",
    "open_log",
    "shown",
    "sqlite_path",
]


def open_log(url: str | Path, *, mode: Literal["write", "read"] = "write", create: bool = True) -> EventLog:
    """The log at `url`: `sqlite:///relative.db`, `sqlite:////absolute.db`, a bare path, or
    `postgresql://user@host:port/database`.

    `write` on SQLite makes this process the log's only writer until `close`; on PostgreSQL many write one log, each
    stream under its own epoch. `read` takes no lock and works beside them. `create` makes a log that is not there, in
    `write` only. Raises `LogNotFound`, `LogHeld`, `LogDamaged`, `LogUnwritable`, `LogUnreachable`, and `LogError` for a
    URL that names no store of this version."""
    # a store loads the event vocabulary, which `aether --help` must not
    if is_postgres(url):
        from telemetry.log.postgres.database import open_postgres

        return open_postgres(str(url), mode=mode, create=create)
    path = sqlite_path(url)
    from telemetry.log.sqlite.database import open_sqlite

    return open_sqlite(path, mode=mode, create=create)
