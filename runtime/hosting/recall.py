"""Episodic memory as the loop's `Recall` port: one index, one thread, the session's own lineage.

Knows what is looked for and where an index lies; the index of several hosts, `runtime.hosting.memory_actor` keeps."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from loops.context import Context
from loops.models import seen
from loops.spaces import Spaces, ToolActions
from memory.embed import TextEmbedder, VectorEmbedder
from memory.errors import IndexHeld
from telemetry.events import sense
from telemetry.events.values import Array, Hit, Message, ModelId, digest_of
from telemetry.log import EventLog, is_postgres

if TYPE_CHECKING:
    from memory.project import EpisodeProjection  # loads Qdrant, which not every host needs

RECALL_TIMEOUT_S = 30.0
MAX_INDICES = 64
"""Processes of one machine that follow one shared log, each with an index of its own."""


class Memory(Protocol):
    async def recall(self, context: Context, *, k: int, version: int, position: int) -> sense.Recalled | None:
        """The `k` nearest episodes of the lineage up to `version`; waits until the index has seen `position`."""
        ...

    def close(self) -> None: ...


class Wanted(BaseModel):
    """What is looked for, and as of when: the same answer whoever asks."""

    model_config = ConfigDict(frozen=True)

    stream: str
    version: int
    position: int
    embedder: ModelId
    vector: Array
    k: int

    def found(self, hits: tuple[Hit, ...]) -> sense.Recalled:
        return sense.Recalled(embedder=self.embedder, query=digest_of(self.vector), k=self.k, hits=hits)


def wanted(context: Context, *, k: int, version: int, position: int) -> Wanted | None:
    """None where nothing was remembered, or there is nothing to go by."""
    observed = context.scene.observed
    if observed is None or context.state.remembered == 0:
        return None
    query = _query(context.spaces, observed)
    if query is None:
        return None
    embedder, vector = query
    return Wanted(
        stream=context.stream,
        version=version,
        position=position,
        embedder=embedder.embedder,
        vector=Array.of(vector),
        k=k,
    )


def nearest(projection: EpisodeProjection, sought: Wanted, *, timeout_s: float) -> tuple[Hit, ...]:
    """Blocks: to be called from one thread kept for it."""
    return projection.recall(
        sought.vector.numpy(),
        embedder=sought.embedder,
        k=sought.k,
        lineage=projection.lineage(sought.stream, sought.version),
        position=sought.position,
        timeout_s=timeout_s,
    )


def open_index(log: EventLog, home: Path) -> EpisodeProjection:
    """The index of this log: beside a file, else in `home`, where each process that follows a shared log has the first
    folder that nobody holds. Raises `IndexHeld` when all are held."""
    from memory.project import EpisodeProjection

    if not is_postgres(log.url):
        return EpisodeProjection(log, folder=Path(f"{log.url}.memory"))
    for number in range(MAX_INDICES):
        with suppress(IndexHeld):
            return EpisodeProjection(log, folder=home / "memory" / log.id / str(number))
    raise IndexHeld(
        f"{MAX_INDICES} processes of this machine hold an index of the log {log.id} in {home / 'memory'}. "
        "The log is intact; try again when one has ended"
    )


class HostMemory:
    """Answers recalls for every session of the host."""

    def __init__(self, projection: EpisodeProjection) -> None:
        self._projection = projection
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="recall")

    async def recall(self, context: Context, *, k: int, version: int, position: int) -> sense.Recalled | None:
        """As `Memory.recall`."""
        sought = wanted(context, k=k, version=version, position=position)
        if sought is None:
            return None
        hits = await asyncio.get_running_loop().run_in_executor(
            self._thread, lambda: nearest(self._projection, sought, timeout_s=RECALL_TIMEOUT_S)
        )
        return sought.found(hits)

    def close(self) -> None:
        self._thread.shutdown()
        self._projection.close()


def _query(
    spaces: Spaces, observed: sense.Observed
) -> tuple[VectorEmbedder | TextEmbedder, NDArray[np.float32]] | None:
    """What is looked for: what is seen in numbers, or what somebody said; None where there is nothing to go by."""
    if isinstance(spaces.action, ToolActions):
        said = "\n".join(o.text for o in observed.observations if isinstance(o, Message))
        vector = (words := TextEmbedder()).embed(said)
        return (words, vector) if vector.any() else None
    if spaces.width == 0:
        return None
    numbers = VectorEmbedder(spaces.width)
    return numbers, numbers.embed(seen(spaces, observed))
