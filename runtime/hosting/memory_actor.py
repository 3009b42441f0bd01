"""The episodic memory of several hosts: one actor that follows the log they share, where their driver runs.

Knows Ray; how an index is kept and asked, `recall` knows. Invariant: a recall is pinned by versions and a
position, so it is answered alike before and after the actor was killed, and whichever host asks."""

from __future__ import annotations

import asyncio
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import ray
from ray.exceptions import PendingCallsLimitExceeded, RayActorError, RayTaskError

from loops.context import Context
from memory.errors import RecallLate
from runtime.hosting.pools import Handle
from runtime.hosting.recall import RECALL_TIMEOUT_S, Wanted, nearest, open_index, wanted
from runtime.hosting.room import here
from runtime.settings import Settings, log_url
from telemetry.events import sense
from telemetry.events.values import Hit
from telemetry.log import EventLog, open_log

if TYPE_CHECKING:
    from memory.project import EpisodeProjection  # loads Qdrant

RECALLS_AT_ONCE = 64
"""Recalls that may wait for the index to catch up; it is asked by one at a time."""
MAX_PENDING = 4096
"""Recalls that may wait for those; a further one tries again."""
RESTART_TIMEOUT_S = 120.0
"""How long a killed memory may take to come back and catch up, before a recall fails."""
RETRY_S = 0.1


class MemoryActor:
    """Loads nothing before the first recall."""

    def __init__(self, log: str, home: str) -> None:
        self._url = log
        self._home = Path(home)
        self._opening = threading.Lock()
        self._index: tuple[EventLog, EpisodeProjection] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="recall")

    def nearest(self, sought: Wanted) -> tuple[Hit, ...]:
        projection = self._opened()
        projection.wait(sought.position, timeout_s=RECALL_TIMEOUT_S)  # here, so that nobody else waits for it
        return self._thread.submit(lambda: nearest(projection, sought, timeout_s=RECALL_TIMEOUT_S)).result()

    def close(self) -> None:
        """Saves how far the index is, so that the next run goes on from there."""
        with self._opening:
            if self._index is not None:
                log, projection = self._index
                projection.close()
                log.close()

    def _opened(self) -> EpisodeProjection:
        with self._opening:
            if self._index is None:
                log = open_log(self._url, mode="read")
                self._index = log, open_index(log, self._home)
            return self._index[1]


class RunningMemory(NamedTuple):
    """The actor, and the name by which hosts of the same driver find it: a handle among an actor's arguments would keep
    Ray from restarting that actor once the driver's object store is gone."""

    actor: Handle
    name: str


def start_memory(settings: Settings) -> RunningMemory:
    """The actor, on this node, under this node's folders. Ray brings it back when it was killed."""
    name = f"memory-{uuid.uuid4().hex}"
    options = ray.remote(MemoryActor).options(
        name=name,
        num_cpus=0,
        max_restarts=-1,
        max_concurrency=RECALLS_AT_ONCE,
        max_pending_calls=MAX_PENDING,
        scheduling_strategy=here(),
    )
    return RunningMemory(options.remote(log_url(settings), str(settings.home.expanduser())), name)


class SharedMemory:
    """`Memory` by the actor of that name; closing it leaves the actor to the others."""

    def __init__(self, name: str) -> None:
        self._actor = cast("Handle", ray.get_actor(name))

    async def recall(self, context: Context, *, k: int, version: int, position: int) -> sense.Recalled | None:
        """As `Memory.recall`. Raises `RecallLate` when the actor does not come back in time."""
        sought = wanted(context, k=k, version=version, position=position)
        if sought is None:
            return None
        try:
            async with asyncio.timeout(RESTART_TIMEOUT_S):
                return sought.found(await self._nearest(sought))
        except TimeoutError as error:
            if isinstance(error, RecallLate):
                raise
            raise RecallLate(
                f"the memory of these hosts did not answer within {RESTART_TIMEOUT_S:g} s. "
                "What was remembered is safe in the log; resume the session to ask again"
            ) from error

    async def _nearest(self, sought: Wanted) -> tuple[Hit, ...]:
        while True:
            try:
                hits: tuple[Hit, ...] = await self._actor.nearest.remote(sought)
            except RayTaskError as error:
                raise error.cause from None
            except (RayActorError, PendingCallsLimitExceeded):
                await asyncio.sleep(RETRY_S)  # Ray is bringing it back, or it is busy
            else:
                return hits

    def close(self) -> None:
        pass
