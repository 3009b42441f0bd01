"""Answers in types that every reader of Arrow has: whole numbers are 64 bits, spans of time are durations.

Knows DuckDB's types and Arrow's. Invariant: a value comes out as it was, or it is said which column to cast."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from telemetry.errors import InvalidQuery

WIDE: Final = ("HUGEINT", "UHUGEINT")
"""What DuckDB sums whole numbers to; Arrow would give decimals."""

SPAN: Final = "INTERVAL"

_STRANGE: Final = re.compile(
    r"\b(BIGNUM|VARIANT|BIT|GEOMETRY|UNION|U?HUGEINT|INTERVAL|TIME WITH TIME ZONE|TIME_NS|TIMESTAMP(TZ)?_NS)\b"
)
"""Types whose values Arrow has not, or readers of it cut; of WIDE and SPAN only those inside of others."""

_QUOTED: Final = re.compile(r"'[^']*'|\"[^\"]*\"")
_DAY_US: Final = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str
    """DuckDB's name of it, such as BIGINT, VARCHAR or DOUBLE[]."""


class Shape:
    def __init__(self, names: Sequence[str], types: Sequence[str]) -> None:
        """Raises `InvalidQuery` for a column of a type that rows cannot carry."""
        self._types = types
        for name, type_ in zip(names, types, strict=True):
            found = None if type_ in (*WIDE, SPAN) else _STRANGE.search(_QUOTED.sub("", type_))
            if found:
                raise InvalidQuery(f"column {name!r} is of type {type_}, which rows cannot carry. Cast it: ::VARCHAR")
        self.columns = tuple(
            Column(name, "BIGINT" if type_ in WIDE else type_)
            for name, type_ in zip(_distinct(names), types, strict=True)
        )

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Raises `InvalidQuery` for a value that does not fit."""
        arrays = [self._array(place, array) for place, array in enumerate(batch.columns)]
        return pa.RecordBatch.from_arrays(arrays, names=[column.name for column in self.columns])

    def _array(self, place: int, array: pa.Array) -> pa.Array:
        type_, name = self._types[place], self.columns[place].name
        if type_ in WIDE:
            try:
                return array.cast(pa.int64())
            except pa.ArrowInvalid:
                raise InvalidQuery(f"a number of {name!r} has more than 64 bits. Cast it: ::DOUBLE") from None
        return _spans(name, array) if type_ == SPAN else array


def _spans(name: str, array: pa.Array) -> pa.Array:
    found: list[int | None] = []
    for span in array.to_pylist():
        if span is not None and span.months:
            raise InvalidQuery(f"a span of {name!r} has months, which are of no one length. Cast it: ::VARCHAR")
        found.append(None if span is None else span.days * _DAY_US + span.nanoseconds // 1000)
    return pa.array(found, pa.duration("us"))


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, each that was there before with a number behind it."""
    given: dict[str, None] = {}
    for name in names:
        number, new = 0, name
        while new in given:
            number += 1
            new = f"{name}_{number}"
        given[new] = None
    return list(given)
