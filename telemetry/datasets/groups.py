"""Rows gathered into groups, each written at once.

Invariant: where a group ends follows from the rows alone, not from the batches that they came in, so the same rows give
the same files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from telemetry.datasets.rows import Lines, Rows, Written

PIECE_BYTES = 16 * 1024 * 1024
"""Rows are turned into lines so many at once, or GROUP_ROWS of them."""

GROUP_ROWS = 65_536
"""Rows of a group where they are short: half of DuckDB's own row groups, so that two are held while two are read."""

GROUP_BYTES = 32 * 1024 * 1024
"""A group ends with the row at which its lines reach this; a row is at most some dozens of MiB."""


@dataclass(frozen=True, slots=True)
class Group:
    split: str
    fields: pa.Table
    lines: tuple[Lines, ...]

    @property
    def bytes(self) -> int:
        """Of its lines."""
        return sum(len(lines.bytes) for lines in self.lines)


def gathered(pieces: Iterable[Rows]) -> Iterator[Rows]:
    """The same rows in fewer pieces, each of one split and not much larger than PIECE_BYTES."""
    held: list[Rows] = []
    rows = size = 0
    for piece in pieces:
        if held and (held[0].split != piece.split or rows >= GROUP_ROWS or size >= PIECE_BYTES):
            yield _joined(held)
            held, rows, size = [], 0, 0
        held.append(piece)
        rows, size = rows + piece.fields.num_rows, size + piece.fields.nbytes
    if held:
        yield _joined(held)


def _joined(pieces: list[Rows]) -> Rows:
    if len(pieces) == 1:
        return pieces[0]
    fields = pa.concat_batches([piece.fields for piece in pieces])
    return Rows(pieces[0].split, fields, pa.concat_arrays([piece.subjects for piece in pieces]))


def grouped(pieces: Iterable[Written]) -> Iterator[Group]:
    """Groups of one split each, from rows in the dataset's order."""
    open_: list[Written] = []
    rows = size = 0
    for piece in pieces:
        if open_ and open_[0].rows.split != piece.rows.split:
            yield _group(open_)
            open_, rows, size = [], 0, 0
        start, count = 0, piece.rows.fields.num_rows
        while start < count:
            stop = _end(piece.lines, start, rows=GROUP_ROWS - rows, size=GROUP_BYTES - size)
            part = _part(piece, start, stop)
            open_.append(part)
            rows, size, start = rows + stop - start, size + len(part.lines.bytes), stop
            if rows >= GROUP_ROWS or size >= GROUP_BYTES:
                yield _group(open_)
                open_, rows, size = [], 0, 0
    if open_:
        yield _group(open_)


def _end(lines: Lines, start: int, *, rows: int, size: int) -> int:
    """The row after the last one that goes into a group with so much room."""
    full = int(np.searchsorted(lines.ends, lines.ends[start] + size, side="left"))
    return min(full, start + rows, len(lines.ends) - 1)


def _part(piece: Written, start: int, stop: int) -> Written:
    if start == 0 and stop == piece.rows.fields.num_rows:
        return piece
    return Written(piece.rows.between(start, stop), piece.lines.between(start, stop))


def _group(parts: list[Written]) -> Group:
    table = pa.Table.from_batches([part.rows.fields for part in parts])
    return Group(parts[0].rows.split, table, tuple(part.lines for part in parts))
