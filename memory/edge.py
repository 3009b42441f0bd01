"""The index: remembered vectors in embedded Qdrant, one shard an embedder, found exactly.

Knows event ids, vectors and lineages; knows nothing of the log or of what an episode means.
Invariant: equal contents and equal questions give equal answers, so nothing here is approximate."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final
from urllib.parse import quote, unquote
from uuid import UUID, uuid5

import numpy as np
import portalocker
from numpy.typing import NDArray

from memory.errors import IndexDamaged, IndexHeld, ShapeError
from telemetry.events.values import Hit, ModelId

if TYPE_CHECKING:
    from qdrant_edge import EdgeShard, QueryRequest, ScoredPoint, UpdateOperation

POINT_NAMESPACE: Final = UUID("5a0c6b1e-2f43-5d0e-9d61-7f2c1a44e0b7")
"""A point's id is the UUIDv5 of its event id in this namespace, so the same event is the same point."""

Lineage = Sequence[tuple[str, int]]
"""(stream, to_version) of a session and its ancestors: what may be remembered, up to and including that
version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPoint:
    """The event `stream@version` at `position` of the log, found by `vector`, float32, shape (E,), of
    `embedder`."""

    stream: str
    version: int
    position: int
    embedder: ModelId
    vector: NDArray[np.float32]


class EdgeIndex:
    """The shards in `folder`, which belong to one process at a time. May be called from any thread.

    An upsert is in the shard's write-ahead log when it returns, so it outlives the process; after `flush` it
    outlives a power cut too. Raises `IndexHeld` when another process has the folder, `IndexDamaged` when
    Qdrant fails."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._owner = _own(folder)
        self._folder = folder
        self._lock = threading.Lock()
        self._shards: dict[ModelId, EdgeShard] = {}
        self._widths: dict[ModelId, int] = dict(
            _named(path) for path in sorted(folder.glob("*@*")) if path.suffix != _UNFINISHED
        )

    def upsert(self, points: Sequence[MemoryPoint]) -> None:
        """Adds `points`; one that is there already is replaced by its equal. Raises ShapeError."""
        by_embedder: dict[ModelId, list[MemoryPoint]] = defaultdict(list)
        for point in points:
            by_embedder[point.embedder].append(point)
        with self._open():
            for embedder, group in by_embedder.items():
                width = group[0].vector.size
                if embedder not in self._widths:
                    self._create(embedder, width=width)
                for point in group:
                    self._check_width(embedder, point.vector)
                with _qdrant(self._path(embedder)):
                    self._shard(embedder).update(_upsert(group))

    def nearest(self, vector: NDArray[np.float32], *, embedder: ModelId, k: int, lineage: Lineage) -> tuple[Hit, ...]:
        """The `k` ≥ 1 nearest of the lineage by Euclidean distance, best first; fewer when there are fewer.

        A score is 1 / (1 + distance); equal scores stand in the order of stream and version. Raises
        ShapeError."""
        assert k >= 1, "to recall nothing, do not ask"
        with self._open():
            if not lineage or embedder not in self._widths:
                return ()
            self._check_width(embedder, vector)
            limit = k + 1
            # Of equally near ones Qdrant returns any, as its plan has it, so we ask for more until none is missing.
            while True:
                with _qdrant(self._path(embedder)):
                    found = self._shard(embedder).query(_query(vector, limit=limit, lineage=lineage))
                ranked = sorted((_hit(point) for point in found), key=lambda one: (-one[0], one[1], one[2]))
                if len(ranked) < limit or ranked[-1][0] < ranked[k - 1][0]:
                    break
                limit *= 2
        return tuple(Hit(event=f"{stream}@{version}", score=score) for score, stream, version in ranked[:k])

    def counts(self) -> Mapping[ModelId, int]:
        """How many points each shard holds. Opens all of them, so it also tells whether they can be
        opened."""
        with self._open():
            counts = {}
            for embedder in self._widths:
                with _qdrant(self._path(embedder)):
                    counts[embedder] = self._shard(embedder).info().points_count
            return counts

    def flush(self) -> None:
        """Returns when everything upserted is on disk."""
        with self._open():
            for embedder, shard in self._shards.items():
                with _qdrant(self._path(embedder)):
                    shard.flush()

    def clear(self) -> None:
        """Throws all shards away."""
        with self._open():
            self._close_shards()
            self._widths.clear()
            for path in self._folder.glob("*@*"):
                shutil.rmtree(path)

    def close(self) -> None:
        """Flushes and lets the folder go. May be called twice."""
        with self._lock:
            try:
                self._close_shards()
            finally:
                self._owner.close()

    @contextmanager
    def _open(self) -> Iterator[None]:
        with self._lock:
            if self._owner.closed:
                raise IndexHeld(f"the index in {self._folder} was closed here; its content is intact, open it again")
            yield

    def _close_shards(self) -> None:
        shards, self._shards = self._shards, {}
        for embedder, shard in shards.items():
            with _qdrant(self._path(embedder)):
                shard.flush()
                shard.close()

    def _path(self, embedder: ModelId) -> Path:
        return self._folder / f"{quote(embedder, safe='@')}.{self._widths[embedder]}"

    def _shard(self, embedder: ModelId) -> EdgeShard:
        if embedder not in self._shards:
            from qdrant_edge import EdgeShard  # 25 MB of memory that who remembers nothing does not spend

            self._shards[embedder] = EdgeShard.load(str(self._path(embedder)))
        return self._shards[embedder]

    def _create(self, embedder: ModelId, *, width: int) -> None:
        """Makes the shard aside and renames it when it is whole, so that a kill leaves either a shard or
        none."""
        from qdrant_edge import (
            Distance,
            EdgeConfig,
            EdgeShard,
            EdgeVectorParams,
            PayloadSchemaType,
            UpdateOperation,
        )

        self._widths[embedder] = width
        path = self._path(embedder)
        unfinished = path.with_name(path.name + _UNFINISHED)
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            unfinished.mkdir()
            vectors = EdgeVectorParams(size=width, distance=Distance.Euclid)
            with _qdrant(path):
                made = EdgeShard.create(str(unfinished), EdgeConfig(vectors=vectors, max_search_threads=1))
                made.update(UpdateOperation.create_field_index("stream", PayloadSchemaType.Keyword))
                made.update(UpdateOperation.create_field_index("version", PayloadSchemaType.Integer))
                made.flush()
                made.close()
            unfinished.rename(path)
        except BaseException:
            del self._widths[embedder]
            raise

    def _check_width(self, embedder: ModelId, vector: NDArray[np.float32]) -> None:
        width = self._widths[embedder]
        if vector.shape != (width,):
            raise ShapeError(
                f"a vector of shape {vector.shape} came to the shard of {embedder}, which holds ({width},)"
            )


_UNFINISHED: Final = ".unfinished"


def _named(shard: Path) -> tuple[ModelId, int]:
    """The embedder and width that a shard's folder is named for."""
    name, _, width = shard.name.rpartition(".")
    if not width.isdigit():
        raise IndexDamaged(f"{shard} is not a shard of this index. Move it away; everything else is intact")
    return unquote(name), int(width)


def _own(folder: Path) -> IO[str]:
    """The lock file of `folder`, locked until it is closed or its process ends; its text is for people
    only."""
    owner = (folder / "index.lock").open("a+", encoding="utf-8")
    try:
        portalocker.lock(owner, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
    except portalocker.LockException as error:
        owner.seek(0)
        holder = owner.read().strip() or "a process that has not written its name yet"
        owner.close()
        raise IndexHeld(
            f"the memory index in {folder} is held by {holder}. It is intact; end that process first"
        ) from error
    owner.truncate(0)
    owner.write(f"pid {os.getpid()} on {socket.gethostname()}\n")
    owner.flush()
    return owner


def _upsert(points: Sequence[MemoryPoint]) -> UpdateOperation:
    from qdrant_edge import Point, UpdateOperation

    return UpdateOperation.upsert_points(
        [
            Point(
                uuid5(POINT_NAMESPACE, f"{point.stream}@{point.version}"),
                point.vector.astype(np.float32, copy=False).tolist(),
                {"stream": point.stream, "version": point.version, "position": point.position},
            )
            for point in points
        ]
    )


def _query(vector: NDArray[np.float32], *, limit: int, lineage: Lineage) -> QueryRequest:
    from qdrant_edge import FieldCondition, Filter, MatchValue, Query, QueryRequest, RangeFloat, SearchParams

    return QueryRequest(
        limit=limit,
        query=Query.Nearest(vector.astype(np.float32, copy=False).tolist()),
        filter=Filter(
            should=[
                Filter(
                    must=[
                        FieldCondition("stream", match=MatchValue(stream)),
                        FieldCondition("version", range=RangeFloat(lte=to_version)),
                    ]
                )
                for stream, to_version in lineage
            ]
        ),
        with_payload=["stream", "version"],
        params=SearchParams(exact=True),
    )


def _hit(point: ScoredPoint) -> tuple[float, str, int]:
    """Score, stream and version; Qdrant's own score of a Euclidean search is the distance."""
    assert point.payload is not None
    return 1 / (1 + point.score), str(point.payload["stream"]), int(point.payload["version"])


@contextmanager
def _qdrant(shard: Path) -> Iterator[None]:
    """Gives Qdrant's errors, which are bare Exceptions or panics of Rust, our name."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise IndexDamaged(
            f"Qdrant failed on the memory index {shard}: {error}. The log is intact, and the index "
            f"is rebuilt from it when the folder is removed and the host started again"
        ) from error
