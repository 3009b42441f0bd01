"""The log: an append-only sequence of events in streams, durable before it is acknowledged.

Knows URLs; each store knows itself and is imported when one is opened, so that importing this costs nothing.
Invariant: whatever the store, `EventLog` keeps the promises in its docstrings."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from telemetry.errors import LogError
from telemetry.log.seal import Seal
from telemetry.log.store import Batch, EventLog, Head, Subscription
from telemetry.log.verify import Problem, VerifyReport

__all__ = [
    "Batch",
    "EventLog",
    "Head",
    "Problem",
    "Seal",
    "Subscription",
    "VerifyReport",
    "open_log",
    "sqlite_path",
]


def open_log(url: str | Path, *, mode: Literal["write", "read"] = "write", create: bool = True) -> EventLog:
    """The log at `url`: `sqlite:///relative.db`, `sqlite:////absolute.db`, or a bare path.

    `write` makes this process the log's only writer until `close`; `read` takes no lock and works beside one.
    `create` makes a log that is not there, in `write` only. Raises `LogNotFound`, `LogHeld`, `LogDamaged`,
    `LogUnwritable`, and `LogError` for a URL that names no store of this version."""
    path = sqlite_path(url)
    from telemetry.log.sqlite import open_sqlite  # loads the event vocabulary, which `aether --help` must not

    return open_sqlite(path, mode=mode, create=create)


def sqlite_path(url: str | Path) -> Path:
    """The file that a SQLite URL or bare path names. Raises `LogError` for any other scheme."""
    text = str(url)
    scheme, found, rest = text.partition("://")
    if not found:
        path = text
    elif scheme == "sqlite":
        path = rest.removeprefix("/")
    elif scheme.partition("+")[0] in ("postgresql", "postgres"):
        raise LogError(
            "this version has no PostgreSQL store; nothing was opened. Use sqlite:///path/to/log.db or a bare path."
        )
    else:
        raise LogError(f"no store answers to {scheme}://; use sqlite:///path/to/log.db or a bare path.")
    if not path:
        raise LogError(f"{text!r} names no file; use sqlite:///path/to/log.db or a bare path.")
    return Path(path)
