"""A kill -9 at a random moment around a refund, and what it left: the same for us and for the peer.

Half of the kills come up to AFTER_INTENT_S after the refund was on record as intended, so before, in or after the
tool's call and the commit of its outcome; half up to AFTER_REFUND_S after it stood in the shop's table, where a repeat
would pay twice. What a kill cut is read once the process is gone, when nobody writes."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, TypeVar

from benchmarks.scripted import refunded

T = TypeVar("T")

AFTER_INTENT_S = 0.01
AFTER_REFUND_S = 0.003
"""Measured on two loaded cores: a refund takes us 7 ms from intent to outcome, LangGraph 10. `Kills.fell` says how many
kills fell where."""
PATIENCE_S = 120.0
POLL_S = 0.001

Fell = Literal["before the refund", "before its outcome", "after its outcome"]
"""What there was when the process was gone: no refund, a refund without its outcome on record, or both."""


@dataclass(frozen=True, slots=True)
class Kills:
    """Where each kill fell, and how many refunds its order got in the end."""

    fell: tuple[Fell, ...]
    refunds: tuple[int, ...]

    @property
    def duplicates(self) -> list[int]:
        """Of each order, its refunds beyond the first."""
        return [max(0, count - 1) for count in self.refunds]

    @property
    def missing(self) -> list[int]:
        """Of each order, 1 where it was not refunded."""
        return [int(count == 0) for count in self.refunds]

    def counted(self, *where: Fell) -> list[int]:
        """Of each kill, 1 where it fell there."""
        return [int(fell in where) for fell in self.fell]


def strike(order: str, pid: int, chance: random.Random, *, recorded: Callable[[], bool]) -> Fell:
    """Kills the process whose refund of `order` is on record as intended; says where that fell. `recorded` is whether
    its outcome is on record."""
    if chance.random() < 0.5:
        time.sleep(chance.uniform(0, AFTER_INTENT_S))
    else:
        until(lambda: order in refunded() or None, what=f"a refund of order {order} in the shop")
        time.sleep(chance.uniform(0, AFTER_REFUND_S))
    os.kill(pid, signal.SIGKILL)
    until(lambda: _gone(pid) or None, what=f"the end of the killed process {pid}")
    if recorded():
        return "after its outcome"
    return "before its outcome" if order in refunded() else "before the refund"


def until(look: Callable[[], T | None], *, what: str) -> T:
    """What `look` finds, as soon as it does. Raises TimeoutError that says `what` did not come."""
    deadline = time.monotonic() + PATIENCE_S
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {PATIENCE_S:g} s")
        time.sleep(POLL_S)
    return found


def result(fell: Sequence[Fell], orders: Sequence[str]) -> Kills:
    """The kills, with what the shop's table says at the end."""
    made = refunded()
    return Kills(tuple(fell), tuple(made.get(order, 0) for order in orders))


def _gone(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return False
    return True
