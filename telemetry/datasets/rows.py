"""Rows between the query and the files, and the step between them that may leave some out.

Knows Arrow; knows neither SQL nor files. Invariant: no row is written that its filter did not keep."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Rows:
    """A stretch of rows of one split."""

    split: str
    fields: pa.RecordBatch
    """What is written, `session`, `events` and `split` among it."""
    subjects: pa.ListArray
    """The people whom each row is about."""

    @property
    def events(self) -> pa.ListArray:
        """The ids of the events that each row came from."""
        return self.fields.column("events")

    def between(self, start: int, stop: int) -> Rows:
        return Rows(self.split, self.fields.slice(start, stop - start), self.subjects.slice(start, stop - start))

    def kept(self, mask: pa.BooleanArray) -> Rows:
        return Rows(self.split, self.fields.filter(mask), self.subjects.filter(mask))


class Filter(Protocol):
    """Decides on rows before anything of them is written or counted."""

    @property
    def name(self) -> str:
        """What the card calls it."""
        ...

    def keep(self, rows: Rows) -> pa.BooleanArray:
        """Which of the rows go on, as many as there are rows. It sees every row once, in the dataset's order."""
        ...


class Everything:
    """Keeps every row."""

    name = "everything"

    def keep(self, rows: Rows) -> pa.BooleanArray:
        return pa.array(np.ones(rows.fields.num_rows, dtype=bool))


@dataclass(frozen=True, slots=True)
class Written:
    """Rows with their canonical lines."""

    rows: Rows
    lines: Lines


@dataclass(frozen=True, slots=True)
class Lines:
    """Text of many rows in one buffer; `ends` has one more than there are rows, the first where they begin."""

    text: pa.Buffer
    ends: NDArray[np.int64]

    @property
    def bytes(self) -> memoryview:
        return memoryview(self.text)[self.ends[0] : self.ends[-1]]

    def between(self, start: int, stop: int) -> Lines:
        return Lines(self.text, self.ends[start : stop + 1])


def runs(places: pa.Array) -> Iterator[tuple[int, int, int]]:
    """(value, start, stop) of each stretch of equal values."""
    values = places.to_numpy(zero_copy_only=False)
    edges = np.flatnonzero(np.diff(values)) + 1
    for start, stop in zip([0, *edges], [*edges, len(values)], strict=True):
        if stop > start:
            yield int(values[start]), int(start), int(stop)


def floats_of(array: pa.Array) -> Iterator[pa.Array]:
    """Every array of floats inside `array`, however deep."""
    kind = array.type
    if pa.types.is_floating(kind):
        yield array
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from floats_of(array.flatten())
    elif pa.types.is_struct(kind):
        for inner in array.flatten():
            yield from floats_of(inner)


def finite(array: pa.Array) -> bool:
    """Whether no float in it is NaN or infinite."""
    return all(pc.all(pc.is_finite(floats)).as_py() is not False for floats in floats_of(array))


def type_name(kind: pa.DataType) -> str:
    """A type in words that do not depend on how a list's members happen to be called."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list<{type_name(kind.value_type)}>"
    return str(kind).removeprefix("large_")
