"""Where the effects of one process go out: each is checked just before it is sent, and known while it is under way.

Knows what an attempt was dispatched under, the clock, and whom to ask for a stream's epoch; knows no tool and no log.
Invariant: an attempt that `check` refuses has sent nothing, so it may be dispatched anew."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from loops.context import Context
from loops.errors import ToolFailed
from telemetry.events.values import Digest

EpochOf = Callable[[str], int]
"""The epoch of a stream as its log says now. Blocks; raises `ToolFailed` (fenced) when it cannot be asked."""


@dataclass(frozen=True, slots=True)
class Warrant:
    """What an attempt was dispatched under: for which effect, by whom, as which owner of the stream, until when."""

    stream: str
    effect: Digest
    epoch: int
    executor: str
    deadline: int
    """UTC, ns."""


class Gateway:
    """The way out of this process, which is named `executor`."""

    def __init__(self, executor: str, *, epoch_of: EpochOf, clock: Callable[[], int] = time.time_ns) -> None:
        self.executor = executor
        self._epoch_of = epoch_of
        self._clock = clock
        self._under_way: Counter[Digest] = Counter()
        self._lock = threading.Lock()

    def passage(self, context: Context, ordinal: int) -> Passage:
        """For the attempt that the context's latest `execute.dispatched` of `ordinal` speaks of."""
        sent = next(sent for sent in context.scene.sent if sent.ordinal == ordinal)
        return Passage(
            self,
            Warrant(
                stream=context.stream,
                effect=sent.effect,
                epoch=context.epoch,
                executor=sent.executor,
                deadline=sent.deadline,
            ),
        )

    def under_way(self, effect: Digest) -> bool:
        """Whether an attempt of the effect has begun in this process and not ended, given up or not."""
        with self._lock:
            return self._under_way[effect] > 0

    def check(self, warrant: Warrant) -> None:
        """Raises `ToolFailed` (fenced) when the attempt must not be sent: by another process than was named, after
        its deadline, or under another epoch than the stream's."""
        if warrant.executor != self.executor:
            why = f"it was handed to {warrant.executor}, this is {self.executor}; nothing was sent"
            raise ToolFailed(why, "fenced")
        if self._clock() >= warrant.deadline:
            raise ToolFailed("its deadline passed before it was sent; nothing was sent", "fenced")
        epoch = self._epoch_of(warrant.stream)
        if epoch != warrant.epoch:
            raise ToolFailed(
                f"{warrant.stream} has another owner, of epoch {epoch}; this call is of epoch {warrant.epoch}. "
                "Nothing was sent",
                "fenced",
            )

    def begins(self, effect: Digest) -> None:
        with self._lock:
            self._under_way[effect] += 1

    def ends(self, effect: Digest) -> None:
        with self._lock:
            self._under_way[effect] -= 1
            if not self._under_way[effect]:
                del self._under_way[effect]


class Passage:
    """One attempt's way out. `with passage:` is the time it is under way in."""

    def __init__(self, gateway: Gateway, warrant: Warrant) -> None:
        self._gateway = gateway
        self._warrant = warrant

    def check(self) -> None:
        """As `Gateway.check`."""
        self._gateway.check(self._warrant)

    def __enter__(self) -> Self:
        self._gateway.begins(self._warrant.effect)
        return self

    def __exit__(self, *_: object) -> None:
        self._gateway.ends(self._warrant.effect)
