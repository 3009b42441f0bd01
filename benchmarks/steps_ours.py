"""Our steps: sessions as asyncio tasks of one process on one log, as in a session host. See `benchmarks.steps`."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Literal

from benchmarks.scenarios import NULL
from benchmarks.steps import CYCLE
from benchmarks.storage import EVENTS_A_CYCLE
from loops.journal import Journal
from loops.randomness import derive
from loops.state import MAX_STATE_BYTES, REDUCER, apply, state_hash
from runtime.hosting.host import BLOCKING_CALLS, SWITCH_INTERVAL_S
from runtime.hosting.placement import Placement
from runtime.runner import SessionRunner
from runtime.scenario import parse_scenario
from runtime.sessions import PREFIX
from telemetry.errors import LogUnwritable
from telemetry.events import sense, session
from telemetry.events.values import Text, digest_of
from telemetry.log import EventLog, open_log

TEXT_CHARACTERS = 66
"""Makes the stored payload of a step PAYLOAD_BYTES long; a test says so."""

Way = Literal["cycle", "commit", "loop"]
Run = Callable[[Way, int, int], float]


def step(number: int) -> sense.Observed:
    """The event of one step; no two are equal."""
    seen = Text(name="step", text=str(number).zfill(TEXT_CHARACTERS))
    return sense.Observed(observations=(seen,), digest=digest_of(seen))


@contextmanager
def serving(folder: Path) -> Iterator[Run]:
    """Yields what runs `sessions` sessions of `steps` steps each, in one of the ways, and says how many seconds they
    took. In the way "loop" a step is an event of the whole loop on the null environment, through the real runner."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    folder.mkdir(parents=True, exist_ok=True)
    numbers = count()
    with closing(open_log(str(folder / "log.db"))) as log:

        def run(way: Way, sessions: int, steps: int) -> float:
            streams = [f"{PREFIX}{next(numbers):012x}" for _ in range(sessions)]
            if way == "loop":
                return _loops(log, streams, steps)
            return asyncio.run(_together([taken(log, stream, steps, way) for stream in streams]))

        yield run


async def _together(sessions: list[Awaitable[object]]) -> float:
    began = time.perf_counter()
    await asyncio.gather(*sessions)
    return time.perf_counter() - began


async def taken(log: EventLog, stream: str, steps: int, way: Way) -> None:
    """One session's steps, cycle by cycle."""
    journal = Journal(log, stream, stall=_give_up)
    for cycle in range(1, steps // CYCLE + 1):
        journal.record(f"{cycle}.open", (session.CycleOpened(cycle=cycle),))
        for place in range(CYCLE):
            journal.record(f"{cycle}.step.{place}", (step(cycle * CYCLE + place),))
            if way == "commit":
                await journal.commit()
        closing_event = session.CycleClosed(cycle=cycle, state_hash="0" * 64, reducer=REDUCER)
        after = state_hash(apply(journal.state, closing_event), at_most=MAX_STATE_BYTES)
        journal.record(f"{cycle}.close", (closing_event.model_copy(update={"state_hash": after}),))
        await journal.commit()
    await journal.rest()


async def _give_up(error: LogUnwritable) -> None:
    raise error


def _loops(log: EventLog, streams: list[str], events: int) -> float:
    """Seconds that sessions of the whole loop take for `events` events each, or up to one cycle more."""
    file = parse_scenario(NULL, source="the bench")
    with ThreadPoolExecutor(BLOCKING_CALLS) as threads:
        placement = Placement(file.scenario, file.text, log, threads)
        runs = [
            SessionRunner(stream, file, log=log, placement=placement, memory=None, owner="bench", stall=_give_up).run(
                seed=derive(0, "benchmark", 0), cycles=-(-events // EVENTS_A_CYCLE), stop=lambda: False
            )
            for stream in streams
        ]
        return asyncio.run(_together(list(runs)))
