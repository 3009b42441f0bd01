"""What makes up a kind of row: its columns, each with a type and a meaning.

Knows Arrow's types; `catalogue` says which kinds there are. Invariant: a kind's columns begin with those of COMMON, so
every row says where it stands in the log, as of when, and whom it concerns."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

import pyarrow as pa

VERSION: Final = 1
"""Of all kinds together: counted up when other rows or columns follow from the same events."""

Type: TypeAlias = pa.DataType

TEXT: Final = pa.string()
JSON: Final = pa.string()
"""Canonical JSON: an Arrow struct would give every row every member that any of them has, and lose which it had."""
INT: Final = pa.int64()
SEED: Final = pa.uint64()
REAL: Final = pa.float64()
FLAG: Final = pa.bool_()
TIME: Final = pa.timestamp("us")
"""UTC, without a zone: one with a zone is shown and turned into a date by that of the reader's machine."""
TEXTS: Final = pa.list_(pa.string())
INTS: Final = pa.list_(pa.int64())
REALS: Final = pa.list_(pa.float64())
FLOATS: Final = pa.list_(pa.float32())
SHAPES: Final = pa.list_(pa.list_(pa.int64()))


SQL: Final = {
    TEXT: "VARCHAR",
    INT: "BIGINT",
    SEED: "UBIGINT",
    REAL: "DOUBLE",
    FLAG: "BOOLEAN",
    TIME: "TIMESTAMP",
    TEXTS: "VARCHAR[]",
    INTS: "BIGINT[]",
    REALS: "DOUBLE[]",
    FLOATS: "FLOAT[]",
    SHAPES: "BIGINT[][]",
}
"""What each is called in a query."""


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: Type
    meaning: str
    null: bool
    """Whether it may be missing."""
    json: bool
    """Whether it holds canonical JSON."""

    @property
    def field(self) -> pa.Field:
        return pa.field(self.name, self.type, nullable=self.null, metadata={"meaning": self.meaning})


@dataclass(frozen=True)
class Kind:
    """`emitted`: when a row comes to be, in words."""

    name: str
    meaning: str
    emitted: str
    own: tuple[Column, ...]
    """Those that it does not share with every other kind."""

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        return (*(EVENT if self.name == "events" else COMMON), *self.own)

    @cached_property
    def schema(self) -> pa.Schema:
        """Meanings are in the metadata of its fields, kind and version in its own."""
        about = {"aetherloop.kind": self.name, "aetherloop.rows": str(VERSION)}
        return pa.schema([column.field for column in self.columns], metadata=about)


def column(name: str, type_: Type, meaning: str) -> Column:
    """One that every row of the kind has."""
    return Column(name, type_, meaning, null=False, json=False)


def maybe(name: str, type_: Type, meaning: str) -> Column:
    """One that a row may lack."""
    return Column(name, type_, meaning, null=True, json=False)


def json(name: str, meaning: str) -> Column:
    """One of canonical JSON, which a row may lack."""
    return Column(name, JSON, meaning, null=True, json=True)


EVENT: Final = (
    column("position", INT, "Of the last event that the row follows from: as of it and of every later one it stands."),
    column("stream", TEXT, "Whose own events these are; what a fork shares stands once, as its ancestor's."),
    maybe("session", TEXT, "The stream's name without `session/`; null for other streams."),
    column("version", INT, "Of `event` in its stream."),
    column("cycle", INT, "0 outside every cycle."),
    column("event", TEXT, "Id, `stream@version`, of the event that the row is about."),
    column("recorded_at", TIME, "When the event at `position` was appended, UTC."),
    maybe(
        "subject",
        TEXT,
        "Whom the row concerns: the person that the session serves. Null also where its beginning is gone.",
    ),
    column("mode", TEXT, "execution, simulation, optimisation, import or synthetic."),
)
"""What a row of `events` begins with."""

COMMON: Final = (
    *EVENT,
    column(
        "sources",
        TEXTS,
        "Ids of the events that it is made of, in their order; of `cycles` and `phases` the first and last.",
    ),
)
"""What a row of every other kind begins with."""
