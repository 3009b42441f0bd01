"""The one thread that writes: it takes everything that is pending as one group and has it committed once.

Knows queues and futures; what may be appended, `decide` knows, and how it is committed, each store.
Invariant: every future it was given is resolved, and only after the COMMIT or ROLLBACK that decided it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

from telemetry.errors import LogClosed, LogError
from telemetry.events.envelope import Recorded
from telemetry.log.latency import Latencies
from telemetry.log.lineage import FORKED, Origin
from telemetry.log.rows import Prepared, pointer, prepare_recorded

if TYPE_CHECKING:
    from telemetry.log.retention.prune import Tables

MAX_PENDING_BYTES = 64 * 1024 * 1024
"""What may wait for the writer before `submit` blocks: several hundred thousand small events."""

ROW_BYTES = 512
"""What a pending event costs beside its payload, in the count above."""


@dataclass(slots=True)
class Pending:
    """One append that waits for its group."""

    stream: str
    events: list[Prepared]
    expected_version: int
    epoch: int
    future: Future[tuple[Recorded, ...]]
    origin: Origin | None = None
    """Of an append that makes a fork."""
    end_hash: bytes | None = None
    """What the chain must end with, where the events were recorded before; another end is refused."""
    submitted: float = field(default_factory=time.perf_counter)

    @property
    def cost(self) -> int:
        return sum(len(event.payload) + ROW_BYTES for event in self.events)


def underway() -> Future[tuple[Recorded, ...]]:
    """The future of an append: it cannot be taken back, so `cancel` answers False."""
    future: Future[tuple[Recorded, ...]] = Future()
    future.set_running_or_notify_cancel()
    return future


def restoring(events: Sequence[Recorded], *, put_blob: Callable[[bytes], str]) -> Pending:
    """The append of events that were recorded before, their contents stored. Raises as `EventLog.restore`."""
    rows = prepare_recorded(events)
    first, last = events[0], events[-1]
    origin = pointer(first.event) if first.type == FORKED else None
    for event in events:
        if event.content is not None:
            put_blob(event.content)
    return Pending(first.stream, rows, first.version - 1, first.epoch, underway(), origin, last.hash)


@dataclass(slots=True)
class Upkeep:
    """An order that is carried out in a transaction of its own, between two groups."""

    order: Callable[[Tables], Recorded | LogError]
    future: Future[tuple[Recorded, ...]]
    cost: int = 0


Outcome: TypeAlias = tuple[Recorded, ...] | LogError


def what_of(pending: Pending | Upkeep) -> str:
    """What an error says it was."""
    return f"this append to {pending.stream}" if isinstance(pending, Pending) else "this order"


def _resolve(future: Future[tuple[Recorded, ...]], outcome: Outcome) -> None:
    if isinstance(outcome, LogError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


class Committer(Protocol):
    """A store's side of the writer's thread, and called on no other."""

    def commit(self, group: list[Pending]) -> list[Outcome]:
        """What became of each append, in their order, once that is on disk. Never raises."""

    def upkeep(self, upkeep: Upkeep) -> Outcome:
        """What became of the order, once that is on disk. Never raises."""

    def close(self) -> None:
        """After the last group."""


class Writer:
    """Owns `committer`, which nobody else may use while it lives. `name` is what people know the log by."""

    def __init__(self, name: str, committer: Committer) -> None:
        self._name = name
        self._committer = committer
        self._changed = threading.Condition()
        self._pending: list[Pending | Upkeep] = []
        self._pending_bytes = 0
        self._closed = False
        self.latencies = Latencies()
        """Of the appends that were kept."""
        self._thread = threading.Thread(target=self._run, name=f"log-writer {name}", daemon=True)
        self._thread.start()

    def submit(self, append: Pending | Upkeep) -> None:
        """Hands `append` over; waits while too much is pending. Raises `LogClosed`."""
        cost = append.cost
        with self._changed:
            while not self._closed and self._pending and self._pending_bytes + cost > MAX_PENDING_BYTES:
                self._changed.wait()
            if self._closed:
                raise LogClosed(f"{self._name} was closed; nothing of {what_of(append)} was kept.")
            self._pending.append(append)
            self._pending_bytes += cost
            self._changed.notify_all()

    def close(self) -> None:
        """Has what was handed over committed and ends the thread. May be called twice."""
        with self._changed:
            first, self._closed = not self._closed, True
            self._changed.notify_all()
        self._thread.join()
        if first:
            self._committer.close()

    def _run(self) -> None:
        while group := self._take():
            appends = [each for each in group if isinstance(each, Pending)]
            if appends:
                outcomes = self._committer.commit(appends)
                now = time.perf_counter()
                for append, outcome in zip(appends, outcomes, strict=True):
                    if not isinstance(outcome, LogError):
                        self.latencies.took(now - append.submitted)
                    _resolve(append.future, outcome)
            for upkeep in group:
                if isinstance(upkeep, Upkeep):
                    _resolve(upkeep.future, self._committer.upkeep(upkeep))

    def _take(self) -> list[Pending | Upkeep]:
        """Everything that is pending, at least one append; nothing once the writer is closed and idle."""
        with self._changed:
            while not self._pending and not self._closed:
                self._changed.wait()
            group, self._pending, self._pending_bytes = self._pending, [], 0
            self._changed.notify_all()
            return group
