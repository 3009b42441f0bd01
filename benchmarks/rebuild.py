"""What it takes to have a session's state again: taking it up, from its whole history or from a snapshot, and replaying
it, beside `repository.get` of the eventsourcing library.

A session is one of the steps of `benchmarks.steps`, its frame among its events: so many events in all, each folded,
at every closed cycle the state hashed and compared. *Rebuild* is `Journal.load`, as a host takes a session up: the
chain is checked, state and scene are folded. *Replay* is `aether replay`: the state only, with the chain checked and
without. The peer's aggregate has as many events of the same content on the peer's SQLite store; it is loaded from all
of them, as it is by default, and nothing of it is checked. Logs are open and their pages cached, ours and the peer's.

Invariant: what is compared is measured in turns."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from benchmarks.scenarios import NULL
from benchmarks.steps import CYCLE
from benchmarks.steps_ours import step
from loops.environments.null import NullEnvironment
from loops.journal import Journal
from loops.rebuild import ENVELOPE_BYTES
from loops.snapshot import MIN_BYTES
from loops.state import REDUCER, apply, state_hash
from runtime.replay import replay
from telemetry.errors import LogUnwritable
from telemetry.events import session
from telemetry.log import EventLog, open_log

NAME = "steps"
STREAM = f"session/{NAME}"
CYCLES_A_COMMIT = 20
WARM = 3

What = Literal["rebuild", "snapshot", "replay"]
Samples = dict[str, list[float]]
"""Milliseconds of each thing that was measured, by its name."""


@contextmanager
def serving(folder: Path) -> Iterator[Callable[[What, int, int], Samples]]:
    """Yields what measures one thing over a session of about `events` events, in so many turns."""
    folder.mkdir(parents=True, exist_ok=True)

    def measure(what: What, events: int, turns: int) -> Samples:
        with closing(open_log(folder / f"{what}-{events}.db")) as log:
            if log.head(STREAM) is None:
                asyncio.run(_fill(log, events, long_tail=what == "snapshot"))
            match what:
                case "rebuild":
                    log.drop_snapshots()
                    return _in_turns({"rebuild": lambda: _load(log)}, turns)
                case "snapshot":
                    tail = _tail(log)
                    times = _in_turns({"snapshot": lambda: _load(log)}, turns)
                    return times | {"tail_events": [float(tail)]}
                case "replay":
                    return _beside(log, folder, turns)

    yield measure


def _in_turns(measured: dict[str, Callable[[], object]], turns: int) -> Samples:
    spent: Samples = {name: [] for name in measured}
    for turn in range(-WARM, turns):
        for name, work in measured.items():
            began = time.perf_counter()
            work()
            if turn >= 0:
                spent[name].append((time.perf_counter() - began) * 1e3)
    return spent


def _load(log: EventLog) -> None:
    Journal(log, STREAM, stall=_give_up).load()


def _tail(log: EventLog) -> int:
    """Events after the newest snapshot."""
    head = log.head(STREAM)
    assert head is not None
    version, _ = next(log.snapshots(STREAM, to=head.version))
    return head.version - version


def _beside(log: EventLog, folder: Path, turns: int) -> Samples:
    head = log.head(STREAM)
    assert head is not None
    get = _eventsourcing(folder / f"eventsourcing-{head.version}.db", head.version)
    assert replay(log, NAME).agrees
    return _in_turns(
        {
            "replay": lambda: replay(log, NAME),
            "replay_unchecked": lambda: replay(log, NAME, checked=False),
            "eventsourcing": get,
        },
        turns,
    )


async def _fill(log: EventLog, events: int, *, long_tail: bool) -> None:
    """A session of `events` events, or up to one cycle more. With `long_tail` it goes on until the next cycle would be
    kept: as much after the last snapshot as there ever is."""
    journal = Journal(log, STREAM, stall=_give_up)
    journal.record("open", (_opening(),))
    cycle, since_bytes, last_bytes, kept = 0, 0, 0, -1
    while journal.version < events or (long_tail and since_bytes + last_bytes <= MIN_BYTES):
        cycle += 1
        _record(journal, cycle)
        if cycle % CYCLES_A_COMMIT and journal.version < events:
            continue
        last_bytes = sum(len(event.payload) + ENVELOPE_BYTES for event in await journal.commit())
        since_bytes += last_bytes
        await journal.rest()
        newest = next((version for version, _ in log.snapshots(STREAM, to=journal.version)), -1)
        if newest != kept:
            kept, since_bytes = newest, 0


def _record(journal: Journal, cycle: int) -> None:
    journal.record(f"{cycle}.open", (session.CycleOpened(cycle=cycle),))
    for place in range(CYCLE):
        journal.record(f"{cycle}.step.{place}", (step(cycle * CYCLE + place),))
    closing_event = session.CycleClosed(cycle=cycle, state_hash="0" * 64, reducer=REDUCER)
    after = state_hash(apply(journal.state, closing_event))
    journal.record(f"{cycle}.close", (closing_event.model_copy(update={"state_hash": after}),))


def _opening() -> session.Opened:
    return session.Opened(
        scenario="null",
        scenario_text=NULL,
        scenario_digest=hashlib.sha256(NULL.encode()).hexdigest(),
        seed=0,
        environment="null:",
        spaces=NullEnvironment().spaces.describe(),
        versions={},
    )


def _eventsourcing(file: Path, events: int) -> Callable[[], object]:
    """What loads an aggregate of so many events, each with what a step says."""
    from eventsourcing.application import Application
    from eventsourcing.domain import Aggregate, event

    class Steps(Aggregate):
        def __init__(self) -> None:
            self.digest = ""
            self.steps = 0

        @event("Stepped")
        def step(self, digest: str, name: str, text: str) -> None:
            self.digest = digest
            self.steps += 1

    application: Application[UUID] = Application(
        env={"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(file)}
    )
    aggregate = Steps()
    for number in range(1, events):  # that it was made is its first event
        taken = step(number)
        (seen,) = (part.model_dump() for part in taken.observations)
        aggregate.step(digest=taken.digest, name=seen["name"], text=seen["text"])
    application.save(aggregate)

    def get() -> Any:  # noqa: ANN401  the peer's own type
        return application.repository.get(aggregate.id)

    assert get().steps == events - 1
    return get


async def _give_up(error: LogUnwritable) -> None:
    raise error
