"""What a fork costs in a log of a few events and in one of many: time until it is on disk, and bytes.

A fork is `runtime.fork.fork` on an open log, as `aether session fork` calls it: the pointer is looked up, checked and
committed with fsync. Bytes are of the whole file after it was closed, so the rows' indexes count too.
Invariant: of each log the forks are cut at its last closed cycle, so that they share all of it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.scenarios import NULL
from benchmarks.steps import CYCLE
from benchmarks.steps_ours import step
from loops.environments.null import NullEnvironment
from loops.state import REDUCER
from runtime.fork import fork
from telemetry.events import Draft, session
from telemetry.log import open_log

PARENT = "session/parent"
CYCLES_A_COMMIT = 200
WARM = 5
"""Forks that are not counted: they load and prepare."""


class Forked(NamedTuple):
    """Of one parent: milliseconds of each fork, and the bytes that one adds to the file."""

    ms: list[float]
    bytes: float


@contextmanager
def serving(folder: Path) -> Iterator[Callable[[int, int, int], Forked]]:
    """Yields what forks a session of about `events` events `forks` times; with `depth`, not that one but a fork of a
    fork … of it, so many deep."""
    folder.mkdir(parents=True, exist_ok=True)

    def measure(events: int, forks: int, depth: int = 0) -> Forked:
        file = folder / f"forks-{events}-{depth}.db"
        at = _parent(file, events)
        parent = PARENT
        with closing(open_log(file)) as log:
            for _ in range(depth):
                parent = fork(log, parent, at=at)
            for _ in range(WARM):
                fork(log, parent, at=at)
        before = file.stat().st_size
        spent = []
        with closing(open_log(file)) as log:
            for _ in range(forks):
                began = time.perf_counter()
                fork(log, parent, at=at)
                spent.append((time.perf_counter() - began) * 1e3)
        return Forked(spent, (file.stat().st_size - before) / forks)

    yield measure


def _parent(file: Path, events: int) -> int:
    """Writes a session of `events` events, or up to one cycle more; its last version."""
    opened = session.Opened(
        scenario="null",
        scenario_text=NULL,
        scenario_digest=hashlib.sha256(NULL.encode()).hexdigest(),
        seed=0,
        environment="null:",
        spaces=NullEnvironment().spaces.describe(),
        versions={},
    )
    with closing(open_log(file)) as log:
        log.append(PARENT, [Draft(event=opened, command="open")], expected_version=0, epoch=1)
        version, cycle = 1, 0
        while version < events:
            drafts: list[Draft] = []
            while version + len(drafts) < events and len(drafts) < CYCLES_A_COMMIT * CYCLE:
                cycle += 1
                drafts += _cycle(cycle)
            log.append(PARENT, drafts, expected_version=version, epoch=1)
            version += len(drafts)
    return version


def _cycle(number: int) -> list[Draft]:
    steps = [step(number * CYCLE + place) for place in range(CYCLE)]
    closed = session.CycleClosed(cycle=number, state_hash="0" * 64, reducer=REDUCER)
    events = [session.CycleOpened(cycle=number), *steps, closed]
    return [Draft(event=event, command=f"{number}.{place}", cycle=number) for place, event in enumerate(events)]
