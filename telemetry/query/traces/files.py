"""Rows as files: which of them stand together, in what order, and how they are written.

Knows tables and Parquet; knows no log and no manifest. Invariant: a path says kind, day and bucket, and nobody's
name."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from telemetry.query.rows.catalogue import KINDS
from telemetry.query.rows.story import Row
from telemetry.query.traces.manifest import File

BUCKETS: Final = 8
"""Into how many the subjects of a day are told. What concerns one person is in one of them, so erasing it rewrites an
eighth; every day has up to so many files a kind."""

ROW_GROUP: Final = 32_768
"""Rows that a reader takes or passes over at once: one session's rows lie together and are in few of them."""

LEVEL: Final = 3
"""Of zstd: its own default, half a second for 100 MB of rows here."""

_SUBJECT, _STREAM, _AT = 7, 1, 6
_DAY_US: Final = 86_400_000_000

Keys = NDArray[np.int64]


class Buckets:
    """Which bucket a row is in: that of its subject, or of its stream where it concerns nobody."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._known: dict[str, int] = {}

    def of(self, name: str) -> int:
        found = self._known.get(name)
        if found is None:
            if len(self._known) > 100_000:
                self._known.clear()
            digest = sha256(f"aetherloop.traces\0{name}".encode()).digest()
            found = self._known[name] = int.from_bytes(digest[:8], "big") % self.count
        return found

    def keys(self, rows: Sequence[Row]) -> Keys:
        """Day and bucket of each row as one number."""
        own, count = self.of, self.count
        found = (int(str(row[_AT])) // _DAY_US * count + own(str(row[_SUBJECT] or row[_STREAM])) for row in rows)
        return np.fromiter(found, np.int64, len(rows))

    def partition(self, kind: str, key: int) -> str:
        day, bucket = divmod(key, self.count)
        date = datetime.fromtimestamp(day * 86_400, UTC).date()
        return f"{kind}/date={date}/bucket={bucket:02}"


def partitioned(table: pa.Table, keys: Keys) -> Iterator[tuple[int, pa.Table]]:
    """The rows of each key, in the order of streams and positions."""
    by = pa.table({"key": keys, "stream": table["stream"], "position": table["position"]})
    order = pc.sort_indices(by, sort_keys=[(name, "ascending") for name in by.column_names])
    ordered, keys = table.take(order), keys[order.to_numpy()]
    bounds = [0, *(np.flatnonzero(np.diff(keys)) + 1).tolist(), len(keys)]
    for start, end in itertools.pairwise(bounds):
        yield int(keys[start]), ordered.slice(start, end - start)


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """One table of one partition's, in the order of streams and positions."""
    whole = pa.concat_tables(tables)
    return whole.take(pc.sort_indices(whole, sort_keys=[("stream", "ascending"), ("position", "ascending")]))


def encoded(partition: str, table: pa.Table) -> tuple[File, bytes]:
    """The file of these rows, and its content."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", compression_level=LEVEL, row_group_size=ROW_GROUP)
    content: bytes = sink.getvalue().to_pybytes()
    first, last = _ends(table["position"])
    first_at, last_at = _ends(table["recorded_at"].cast(pa.int64()))
    streams = pc.min_max(table["stream"]).as_py()
    name = f"{first:012}-{last:012}-{time.time_ns():016x}{secrets.token_hex(4)}.parquet"
    return (
        File(
            path=f"{partition}/{name}",
            rows=table.num_rows,
            bytes=len(content),
            table_bytes=table.nbytes,
            first=first,
            last=last,
            first_at=first_at,
            last_at=last_at,
            first_stream=streams["min"],
            last_stream=streams["max"],
        ),
        content,
    )


def decoded(kind: str, content: bytes) -> pa.Table:
    """The rows of a file."""
    return pq.read_table(pa.BufferReader(content)).cast(KINDS[kind].schema)


def written_at(path: str) -> int | None:
    """When a file of that name was written, UTC ns; None where it is no file of ours."""
    _, _, token = path.rpartition("/")[2].removesuffix(".parquet").rpartition("-")
    try:
        return int(token[:16], 16) if path.endswith(".parquet") and len(token) == 24 else None
    except ValueError:
        return None


def _ends(column: pa.ChunkedArray) -> tuple[int, int]:
    found = pc.min_max(column).as_py()
    return int(found["min"]), int(found["max"])
