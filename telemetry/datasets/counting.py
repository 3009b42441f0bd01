"""What is counted of a dataset's rows as they pass, for its manifest and card.

Invariant: counts do not depend on the batches that rows come in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from telemetry.datasets.rows import Rows
from telemetry.events.values import Value

MOST_CLASSES = 1000
"""Values of one field that are counted one by one; what a classifier could learn has fewer. Further ones count as
`OTHERS`."""

OTHERS = "(others)"
MISSING = "(missing)"


class SplitCounts(Value):
    """Of one split. `subjects` counts people, `missing` the nulls of each field that has any, `classes` the rows of
    each value of the fields that the recipe names."""

    rows: int = Field(default=0, ge=0)
    sessions: int = 0
    subjects: int = 0
    missing: dict[str, int] = {}
    classes: dict[str, dict[str, int]] = {}


class Counting:
    """Counts rows of the splits named."""

    def __init__(self, splits: Iterable[str], *, classes: Iterable[str]) -> None:
        self._of = {split: _Split(tuple(classes)) for split in splits}

    def add(self, rows: Rows) -> None:
        self._of[rows.split].add(rows)

    def counts(self) -> dict[str, SplitCounts]:
        return {split: found.counts() for split, found in self._of.items()}


class _Split:
    def __init__(self, classes: tuple[str, ...]) -> None:
        self._rows = 0
        self._sessions: set[str] = set()
        self._subjects: set[str] = set()
        self._missing = Counter[str]()
        self._classes = {name: Counter[str]() for name in classes}

    def add(self, rows: Rows) -> None:
        self._rows += rows.fields.num_rows
        self._sessions.update(pc.unique(rows.fields.column("session")).to_pylist())
        self._subjects.update(one for one in pc.unique(rows.subjects.flatten()).to_pylist() if one is not None)
        for name, column in zip(rows.fields.schema.names, rows.fields.columns, strict=True):
            if column.null_count:
                self._missing[name] += column.null_count
        for name, counter in self._classes.items():
            _count(counter, rows.fields.column(name))

    def counts(self) -> SplitCounts:
        return SplitCounts(
            rows=self._rows,
            sessions=len(self._sessions),
            subjects=len(self._subjects),
            missing=dict(sorted(self._missing.items())),
            classes={name: _largest_first(counter) for name, counter in self._classes.items()},
        )


def _count(counter: Counter[str], column: pa.Array) -> None:
    for found in pc.value_counts(column):
        value, count = found["values"].as_py(), found["counts"].as_py()
        name = MISSING if value is None else str(value).lower() if isinstance(value, bool) else str(value)
        counter[name if name in counter or len(counter) < MOST_CLASSES else OTHERS] += count


def _largest_first(counter: Counter[str]) -> dict[str, int]:
    return dict(sorted(counter.items(), key=lambda one: (-one[1], one[0])))
