"""Where effects become visible: a table in a SQLite file, `$EFFECT_TARGET`, committed and synced before anything else,
and the tools that put items into it.

The answer takes ANSWER_S to come back, as that of a service next door does, and whoever is killed meanwhile does not
know what happened. Invariant: an item stands in the table as often as it was put there; only the same key again changes
nothing."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from loops.environments.tools import EffectKey, ToolFailed, tool

ANSWER_S = 0.02
VARIABLE = "EFFECT_TARGET"
TABLE = "CREATE TABLE IF NOT EXISTS effects (number INTEGER PRIMARY KEY, item TEXT NOT NULL, key TEXT UNIQUE)"


@contextmanager
def target(path: Path | None = None) -> Iterator[sqlite3.Connection]:
    """A connection that commits at the end of the block, synced."""
    with closing(sqlite3.connect(path or os.environ[VARIABLE], timeout=30)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")  # so that whoever looks keeps nobody waiting
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(TABLE)
        with connection:
            yield connection


def put(item: str, key: str | None) -> str:
    """Does the effect and answers. Under a key that the table has, only answers."""
    with target() as connection:
        connection.execute("INSERT OR IGNORE INTO effects (item, key) VALUES (?, ?)", (item, key))
    time.sleep(ANSWER_S)
    return f"{item} is there"


def made(path: Path) -> Mapping[str, int]:
    """How often each item was put."""
    with target(path) as connection:
        return dict(connection.execute("SELECT item, count(*) FROM effects GROUP BY item").fetchall())


@tool(effect="keyed")
def put_keyed(item: str, key: EffectKey) -> str:
    """Put an item where a repeated key is known."""
    return put(item, key)


def _was_put(item: str) -> str:
    with target() as connection:
        if connection.execute("SELECT 1 FROM effects WHERE item = ?", (item,)).fetchone() is None:
            raise ToolFailed(f"{item} is not there", "not_done")
    return f"{item} is there"


@tool(effect="probeable", probe=_was_put)
def put_probeable(item: str) -> str:
    """Put an item where one can look whether it is there."""
    return put(item, None)


@tool(effect="unsafe")
def put_unsafe(item: str) -> str:
    """Put an item where nobody can say afterwards whether it was put."""
    return put(item, None)
