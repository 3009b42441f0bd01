"""The episodic memory of one host as the loop's `Recall` port: one index, one thread, the session's own lineage."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from loops.context import Context
from loops.models import seen
from memory.embed import VectorEmbedder
from telemetry.events import sense
from telemetry.events.values import Array, digest_of

if TYPE_CHECKING:
    from memory.project import EpisodeProjection  # loads Qdrant, which not every host needs

RECALL_TIMEOUT_S = 30.0


class HostMemory:
    """Answers recalls for every session of the host."""

    def __init__(self, projection: EpisodeProjection) -> None:
        self._projection = projection
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="recall")

    async def recall(self, context: Context, *, k: int, version: int, position: int) -> sense.Recalled | None:
        """The `k` nearest episodes of the session up to `version`; waits until the index has seen `position`."""
        observed = context.scene.observed
        if observed is None or context.state.remembered == 0 or context.spaces.width == 0:
            return None
        embedder = VectorEmbedder(context.spaces.width)
        vector = embedder.embed(seen(context.spaces, observed))
        hits = await asyncio.get_running_loop().run_in_executor(
            self._thread,
            lambda: self._projection.recall(
                vector,
                embedder=embedder.embedder,
                k=k,
                lineage=((context.stream, version),),
                position=position,
                timeout_s=RECALL_TIMEOUT_S,
            ),
        )
        return sense.Recalled(embedder=embedder.embedder, query=digest_of(Array.of(vector)), k=k, hits=hits)

    def close(self) -> None:
        self._thread.shutdown()
        self._projection.close()
