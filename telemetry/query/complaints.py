"""DuckDB's complaints in words that say what to do.

Knows the shapes of its messages; where it does not know one, it passes on the first of its lines."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from typing import Final

import duckdb

from telemetry.errors import InvalidQuery, QueryStopped, QueryTooLarge, TelemetryError, TracesDamaged

_KIND: Final = re.compile(r"^[A-Za-z ]+ Error: ")
_COLUMN: Final = re.compile(r'Referenced column "([^"]+)" not found|does not have a column named "([^"]+)"')
_FUNCTION: Final = re.compile(r"Function with name \"?([^\" ]+)\"? does not exist")
_HINT: Final = re.compile(r'Did you mean "([^"]+)"')
_PLACE: Final = re.compile(r"^LINE \d+:.*\n\s*\^.*$", re.MULTILINE)
_LONG: Final = re.compile(r"'([^']{60})[^']{20,}'")
"""A text of the data that a message cites: its beginning tells enough."""
_FOUND: Final = 0.6
"""How alike two names must be for one to be taken for the other; difflib's default."""


def nearest(name: str, known: Collection[str]) -> str:
    """`; did you mean 'x'?` or, where nothing is near, the names there are."""
    close = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=_FOUND)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(sorted(known))}"


def said(error: Exception, *, columns: Collection[str] = ()) -> str:
    """What is wrong with the query. `columns`: those of the views that it reads."""
    text = _LONG.sub(r"'\1…'", str(error))
    place = _PLACE.search(text)
    where = "" if place is None else f"\n{place[0]}"
    if found := _COLUMN.search(text):
        name = found[1] or found[2]
        return f"there is no column {name!r}{nearest(name, columns) if columns else ''}{where}"
    if found := _FUNCTION.search(text):
        hint = _HINT.search(text)
        return f"there is no function {found[1]!r}{f'; did you mean {hint[1]!r}?' if hint else ''}{where}"
    if "expression depth" in text:
        return "the query is nested too deeply"
    return f"the query cannot be answered: {_KIND.sub('', text).partition(f'{chr(10)}{chr(10)}LINE')[0].strip()}{where}"


def complaint(error: Exception, *, memory: str, columns: Collection[str] = ()) -> TelemetryError:
    """What to raise for what DuckDB raised, or Arrow in its words. `memory`: how much it was allowed, in words."""
    kind = str(error).partition(" Error:")[0]
    if isinstance(error, duckdb.InterruptException) or kind == "INTERRUPT":
        return QueryStopped("the query was stopped. The log and the traces were only read")
    if isinstance(error, duckdb.IOException | duckdb.PermissionException) or kind == "IO":
        # A query that names files does not come so far: this is one of the traces', and DuckDB looks for it elsewhere.
        first = said(error).partition("\n")[0]
        return TracesDamaged(
            f"a file of the traces is gone or cannot be read: {first}. The log is intact. Ask with others: "
            "--traces FOLDER; or make them anew in another folder: aether trace export"
        )
    if isinstance(error, duckdb.OutOfMemoryException) or kind == "Out of Memory":
        return QueryTooLarge(
            f"the query needs more than the {memory} of memory that it may take, even with what can be put aside on "
            "disk. The log and the traces were only read. Try fewer columns or rows, sums instead of lists, or more "
            "memory: --memory 4GB"
        )
    return InvalidQuery(said(error, columns=columns))
