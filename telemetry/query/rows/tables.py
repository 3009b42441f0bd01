"""Rows as Arrow tables, and those of a stretch of the log.

Knows how a column of Python values becomes one of Arrow's; numbers in lists come as arrays and are laid one after the
other instead of being taken out one by one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from telemetry.log import EventLog
from telemetry.query.rows.catalogue import KINDS
from telemetry.query.rows.fold import Fold
from telemetry.query.rows.kinds import FLOATS, REALS, Type
from telemetry.query.rows.payloads import Numbers
from telemetry.query.rows.story import Row

_DTYPES: Final = {REALS: np.float64, FLOATS: np.float32}


def table(kind: str, rows: Sequence[Row]) -> pa.Table:
    """The rows of one kind, in their order."""
    schema = KINDS[kind].schema
    columns: Sequence[Sequence[object]] = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    arrays = [_array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def rows_of(
    log: EventLog, *, after: int, to: int | None = None, kinds: Collection[str] = tuple(KINDS)
) -> dict[str, pa.Table]:
    """The rows that follow from the events above position `after` up to `to`, or up to the last one, by kind; a kind
    without rows has an empty table. They are held in memory: for what is not in Parquet yet."""
    fold = Fold(log, kinds=kinds)
    fold.add(log.read_all(after=after, to=to))
    return {kind: table(kind, rows) for kind, rows in fold.take().items()}


def _array(values: Sequence[object], type_: Type) -> pa.Array:
    dtype = _DTYPES.get(type_)
    if dtype is None or not any(isinstance(value, np.ndarray) for value in values):
        return pa.array(values, type_)
    lists: list[Numbers] = [np.asarray([] if value is None else value, dtype=dtype) for value in values]
    offsets = np.zeros(len(lists) + 1, np.int32)
    np.cumsum([len(one) for one in lists], out=offsets[1:])
    missing = np.fromiter((value is None for value in values), np.bool_, len(lists))
    mask = pa.array(missing) if missing.any() else None
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(lists)), type=type_, mask=mask)
