"""From the log into Ray's object store: sessions are read side by side, and every worker can have all of them.

Knows Ray Data, blocks and lineages; knows no model. Invariant: whatever the order in which blocks arrive, the rows that
come out are those of `read_lessons`, in its order. A password in the log's URL is in nothing that is shown."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import ray
import ray.data
import ray.types
from numpy.typing import NDArray
from pydantic import SecretStr
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask
from ray.exceptions import RayTaskError

from loops.errors import LoopError
from loops.lessons import Heard, Lessons, common, digest_of, joined, lessons_of, numbers_of
from loops.lives import Lived, Source, Stretch, families, read_lives
from telemetry.errors import TelemetryError
from telemetry.events.values import Digest
from telemetry.log import is_postgres, open_log, sqlite_path
from world_model.experience import Experience
from world_model.layout import Layout

FAMILIES_A_TASK: Final = 8
"""Lineages that one read task reads at least: a process that starts costs what reading thousands of events does."""

READER_CPUS: Final = 0.01
"""What a read task asks for: it waits for the log more than it computes, and stands beside hosts and workers."""

_END: Final = -1
"""`stretch` of the row that ends a session."""

SCHEMA: Final = pa.schema(
    [
        ("source", pa.int32()),
        ("stretch", pa.int32()),
        ("seen", pa.large_binary()),
        ("done", pa.large_binary()),
        ("reward", pa.large_binary()),
        ("position", pa.large_binary()),
        ("end", pa.string()),
        ("unreadable", pa.int64()),
    ]
)
"""A row is a stretch of one session, its arrays as little-endian bytes, or the session's end."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a worker must know to put rows together. `digest` is of the rows, which it so makes sure of."""

    layout: Layout
    numbers: tuple[int, ...]
    digest: Digest


@dataclass(frozen=True, slots=True)
class Gathered:
    """What was read: joined in this process, and as blocks that workers stream from where they lie."""

    lessons: Lessons
    plan: Plan
    blocks: ray.data.Dataset


def gather(
    url: str | Path, sources: Sequence[Source], *, to: int | None = None, heard: Heard = lambda _: None
) -> Gathered:
    """The transitions of `sources` as of position `to` of the log, or of now, as `read_lessons` gives them, by tasks
    that open the log read-only. A SQLite log is read on the machine of this process.

    Raises what `read_lessons` raises. Needs a connected Ray."""
    layout = common(sources)
    with closing(open_log(url, mode="read")) as log:
        to = log.position() if to is None else to
        groups = families(log, [source.stream for source in sources])
    place = SecretStr(str(url) if is_postgres(url) else str(sqlite_path(url).absolute()))
    pinned = None if is_postgres(url) else {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    tasks = shared_out(groups, _readers(len(groups)))
    blocks: list[ray.types.ObjectRef[pa.Table]] = []
    tables: list[pa.Table] = []
    with quiet(), _as_themselves():
        rows = ray.data.read_datasource(
            Sessions(place, sources, tasks, to=to),
            num_cpus=READER_CPUS,
            override_num_blocks=len(tasks),
            label_selector=pinned,
        )
        for bundle in rows.iter_internal_ref_bundles():
            for entry in bundle.blocks:
                table = ray.get(entry.ref)
                _tell(table, heard)
                blocks.append(entry.ref)
                tables.append(table)
        lessons = lessons_of(sources, put_together(layout, len(sources), tables))
        plan = Plan(layout, numbers_of(sources), lessons.digest)
        return Gathered(lessons, plan, ray.data.from_arrow_refs(blocks))


def rebuilt(plan: Plan, tables: Iterable[pa.Table]) -> Experience:
    """The rows that `gather` read, in its order. An assert fails where they are others."""
    experience = joined(plan.layout, plan.numbers, put_together(plan.layout, len(plan.numbers), tables))
    found = digest_of(experience)
    assert found == plan.digest, f"the rows that came here hash to {found[:12]}…, {plan.digest[:12]}… were read"
    return experience


def put_together(layout: Layout, sessions: int, tables: Iterable[pa.Table]) -> list[Lived]:
    """What was read of each session, from rows in any order."""
    stretches: list[dict[int, Stretch]] = [{} for _ in range(sessions)]
    ends: dict[int, tuple[str, int]] = {}
    for table in tables:
        for row in table.to_pylist():
            if row["stretch"] == _END:
                ends[row["source"]] = row["end"], row["unreadable"]
            else:
                stretches[row["source"]][row["stretch"]] = _stretch(layout, row)
    assert len(ends) == sessions, f"{sessions - len(ends)} of {sessions} sessions did not arrive"
    return [Lived(tuple(found[i] for i in range(len(found))), *ends[place]) for place, found in enumerate(stretches)]


class Sessions(Datasource):
    """Sessions of a log, some lineages a task; a task gives one block a session."""

    def __init__(self, url: SecretStr, sources: Sequence[Source], tasks: Sequence[Sequence[int]], *, to: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Ray declares none
        self._url = url
        self._sources = sources
        self._tasks = tasks
        self._to = to

    def get_read_tasks(
        self,
        parallelism: int,
        per_task_row_limit: int | None = None,
        data_context: ray.data.DataContext | None = None,
    ) -> list[ReadTask]:
        unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        return [
            ReadTask(
                partial(_read, self._url, [(place, self._sources[place]) for place in places], self._to),
                unknown,
                schema=SCHEMA,
            )
            for places in self._tasks
        ]

    def estimate_inmemory_data_size(self) -> int | None:
        return None


def _read(url: SecretStr, sources: Sequence[tuple[int, Source]], to: int) -> Iterator[pa.Table]:
    with closing(open_log(url.get_secret_value(), mode="read")) as log:
        lives = read_lives(log, [source for _, source in sources], to=to)
        for (place, _), lived in zip(sources, lives, strict=True):
            yield _table(place, lived)


def _table(place: int, lived: Lived) -> pa.Table:
    rows: list[dict[str, object]] = [
        {
            "source": place,
            "stretch": number,
            "seen": _bytes(stretch.seen_ND),
            "done": _bytes(stretch.done_NA),
            "reward": _bytes(stretch.reward_N),
            "position": _bytes(stretch.position_N),
        }
        for number, stretch in enumerate(lived.stretches)
    ]
    rows.append({"source": place, "stretch": _END, "end": lived.end, "unreadable": lived.unreadable})
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _bytes(values: NDArray[np.generic]) -> bytes:
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


def _stretch(layout: Layout, row: dict[str, bytes]) -> Stretch:
    position_N = np.frombuffer(row["position"], dtype="<i8").astype(np.int64)
    n = len(position_N)
    return Stretch(
        np.frombuffer(row["seen"], dtype="<f4").astype(np.float32).reshape(n, layout.width),
        np.frombuffer(row["done"], dtype="<f4").astype(np.float32).reshape(n, layout.controls.width),
        np.frombuffer(row["reward"], dtype="<f4").astype(np.float32),
        position_N,
    )


def _tell(table: pa.Table, heard: Heard) -> None:
    """Blocks hold whole sessions, or several."""
    taken: dict[int, int] = {}
    for row in table.select(["source", "stretch", "reward"]).to_pylist():
        rows = 0 if row["stretch"] == _END else len(row["reward"]) // 4 - 1
        taken[row["source"]] = taken.get(row["source"], 0) + rows
    for transitions in taken.values():
        heard(transitions)


def _readers(groups: int) -> int:
    """How many tasks read so many lineages."""
    cpus = int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]  # Ray declares none
    return max(1, min(cpus, math.ceil(groups / FAMILIES_A_TASK)))


def shared_out(groups: Sequence[Sequence[int]], tasks: int) -> list[list[int]]:
    """The places of each task; those of one lineage stay together."""
    return [[place for group in groups[task::tasks] for place in group] for task in range(tasks)]


@contextmanager
def quiet() -> Iterator[None]:
    """Ray Data draws no bars inside and says nothing but errors."""
    context, logger = ray.data.DataContext.get_current(), logging.getLogger("ray.data")
    before, level = context.enable_progress_bars, logger.level
    context.enable_progress_bars = False
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        context.enable_progress_bars = before
        logger.setLevel(level)


@contextmanager
def _as_themselves() -> Iterator[None]:
    """What a read task raised comes out as it was raised there."""
    try:
        yield
    except RayTaskError as error:
        cause: BaseException | None = error
        while cause is not None:
            inner = cause.cause if isinstance(cause, RayTaskError) else cause
            if isinstance(inner, TelemetryError | LoopError) and not isinstance(inner, RayTaskError):
                raise inner from None
            cause = cause.__cause__
        raise
