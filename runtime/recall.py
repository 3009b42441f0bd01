"""The episodic memory of one host as the loop's `Recall` port: one index, one thread, the session's own lineage."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from loops.context import Context
from loops.models import seen
from loops.spaces import Spaces, ToolActions
from memory.embed import TextEmbedder, VectorEmbedder
from telemetry.events import sense
from telemetry.events.values import Array, Message, digest_of

if TYPE_CHECKING:
    from memory.project import EpisodeProjection  # loads Qdrant, which not every host needs

RECALL_TIMEOUT_S = 30.0


class HostMemory:
    """Answers recalls for every session of the host."""

    def __init__(self, projection: EpisodeProjection) -> None:
        self._projection = projection
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="recall")

    async def recall(self, context: Context, *, k: int, version: int, position: int) -> sense.Recalled | None:
        """The `k` nearest episodes of the lineage up to `version`; waits until the index has seen `position`."""
        observed = context.scene.observed
        if observed is None or context.state.remembered == 0:
            return None
        found = _query(context.spaces, observed)
        if found is None:
            return None
        embedder, vector = found
        hits = await asyncio.get_running_loop().run_in_executor(
            self._thread,
            lambda: self._projection.recall(
                vector,
                embedder=embedder.embedder,
                k=k,
                lineage=self._projection.lineage(context.stream, version),
                position=position,
                timeout_s=RECALL_TIMEOUT_S,
            ),
        )
        return sense.Recalled(embedder=embedder.embedder, query=digest_of(Array.of(vector)), k=k, hits=hits)

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
