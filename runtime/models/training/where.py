"""`--where`: one expression of SQL over one row a session.

Knows the row's columns and what an expression may do. What it may not do is SQLite's to refuse: the table stands in
memory, beside nothing else, and an authorizer lets a statement read its columns and call what always answers the same.
Invariant: whatever is written there, nothing but these columns is read and nothing is changed."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection, Sequence
from contextlib import closing
from typing import Final, NamedTuple

from runtime.errors import UsageError
from runtime.explain import nearest


class SessionFacts(NamedTuple):
    """A session as an expression sees it; no name of a person is among it."""

    session: str
    scenario: str
    environment: str
    seed: int
    status: str
    """open, suspended, waiting or closed, as `aether session list` says it."""
    outcome: str | None
    """Of a closed one: done, cycles, failed or refused."""
    cycles: int
    opened_at: str
    """UTC, as 2026-11-26T01:05:00Z: it compares with any beginning of such a text."""
    episodes: int | None = None
    """That ended. These three are counted where the expression asks for one of them."""
    successes: int | None = None
    reward: float | None = None
    """Sum of all its rewards."""


COLUMNS: Final = SessionFacts._fields
COUNTED: Final = frozenset({"episodes", "successes", "reward"})
FUNCTIONS: Final = (
    *("abs", "coalesce", "glob", "ifnull", "iif", "instr", "length", "like", "lower", "max", "min", "nullif", "round"),
    *("substr", "substring", "trim", "upper"),
)
"""Of one row, and the same on every machine at any time."""

LONGEST: Final = 1000
"""Characters of an expression."""

STEPS_OF_A_ROW: Final = 2000
"""Instructions of SQLite's machine that a row may take: several for each character of the longest expression."""

EVERY: Final = 1000
"""Instructions between two looks at how many there were."""

STOPPED: Final = ("interrupted", "not authorized", "access to")
"""What SQLite says where its questions to `_Guard` were not answered: sqlite3 keeps an exception that comes up there to
itself, and none does but that of Ctrl-C."""

_TYPES: Final = dict.fromkeys(("seed", "cycles", "episodes", "successes"), "INTEGER") | {"reward": "REAL"}
_TABLE: Final = f"CREATE TABLE session ({', '.join(name + ' ' + _TYPES.get(name, 'TEXT') for name in COLUMNS)})"
_INSERT: Final = f"INSERT INTO session VALUES ({', '.join('?' * len(COLUMNS))})"
_LITERAL: Final = re.compile(r"'(?:[^']|'')*'")
_REFUSED: Final = re.compile(r"--|/\*|[;\"`\[\]?:@$#\0]")


class Where:
    """An expression that was read. Raises `UsageError` for what is none, with the names that it may use."""

    def __init__(self, expression: str) -> None:
        self.expression = expression
        self._check_text()
        self.reads: frozenset[str] = frozenset(self._run(()).reads)

    def choose(self, rows: Sequence[SessionFacts]) -> set[str]:
        """The sessions of which it is true."""
        return self._run(rows).found

    def _check_text(self) -> None:
        """One expression and no more: what would end it, or begin a comment or another way of quoting, is refused."""
        bare = _LITERAL.sub("''", self.expression)
        if not bare.strip():
            raise self._error("it is empty")
        if len(self.expression) > LONGEST:
            raise self._error(f"it has {len(self.expression)} characters, at most {LONGEST} are read")
        if found := _REFUSED.search(bare):
            raise self._error(f"{found[0]!r} has no place in it; text stands in single quotes")
        depth = 0
        for sign in bare:
            depth += (sign == "(") - (sign == ")")
            if depth < 0:
                raise self._error("a bracket is closed that was not opened")

    def _run(self, rows: Sequence[SessionFacts]) -> _Ran:
        with closing(sqlite3.connect(":memory:", cached_statements=0)) as table:
            table.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 100_000)
            table.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 100)
            table.execute(_TABLE)
            table.executemany(_INSERT, rows)
            guard = _Guard(budget=STEPS_OF_A_ROW * (len(rows) + 1))
            table.set_authorizer(guard.allows)
            table.set_progress_handler(guard.spends, EVERY)
            try:
                found = table.execute(f"SELECT session FROM session WHERE ({self.expression})").fetchall()
            except (sqlite3.Error, sqlite3.Warning, UnicodeError, OverflowError) as error:
                if guard.refused is None and str(error).startswith(STOPPED):
                    raise KeyboardInterrupt from None
                raise self._error(guard.refused or _said(str(error))) from error
            return _Ran({str(name) for (name,) in found}, guard.reads)

    def _error(self, what: str) -> UsageError:
        return UsageError(
            f"--where {self.expression[:LONGEST]!r}: {what}. It is one SQL expression over {', '.join(COLUMNS)}, "
            'such as "successes > 0 and cycles < 100". Nothing was learnt'
        )


class _Ran(NamedTuple):
    found: set[str]
    reads: Collection[str]


class _Guard:
    """What SQLite asks before it compiles a step, and now and then while it runs."""

    def __init__(self, *, budget: int) -> None:
        self.reads: set[str] = set()
        self.refused: str | None = None
        self._selects = 0
        self._left = budget

    def allows(self, action: int, first: str | None, second: str | None, _base: str | None, _by: str | None) -> int:
        match action:
            case sqlite3.SQLITE_SELECT:
                self._selects += 1
                return self._judge(self._selects == 1, "it holds a query of its own")
            case sqlite3.SQLITE_READ:
                self.reads.add(str(second))
                return self._judge(first == "session" and second in COLUMNS, f"{first}.{second} is not to be read")
            case sqlite3.SQLITE_FUNCTION:
                return self._judge(second in FUNCTIONS, f"{second!r} is none of {', '.join(FUNCTIONS)}")
        return self._judge(False, "it does more than read a session's columns")

    def spends(self) -> bool:
        self._left -= EVERY
        if self._left < 0:
            self.refused = "it takes too long"
        return self._left < 0

    def _judge(self, allowed: bool, otherwise: str) -> int:
        if not allowed:
            self.refused = self.refused or otherwise
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _said(error: str) -> str:
    """SQLite's own words, with the nearest column for one that is not there."""
    _, missing, name = error.partition("no such column: ")
    if not missing:
        return error
    return f"there is no column {name!r}{nearest(name, COLUMNS)} (text stands in single quotes)"
