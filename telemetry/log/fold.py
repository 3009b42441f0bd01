"""The left fold over recorded events. Invariant: `fold(a + b) == fold(b, start=fold(a))`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from telemetry.events.envelope import Recorded

State = TypeVar("State")


def fold(events: Iterable[Recorded], apply: Callable[[State, Recorded], State], *, start: State) -> State:
    """`apply` over `events` in their order, holding one event at a time."""
    state = start
    for event in events:
        state = apply(state, event)
    return state
