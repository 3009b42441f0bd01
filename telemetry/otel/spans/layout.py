"""When what led to an event began and ended, within a stretch of a stream.

Events of one append share `at`, the writer's clock; how long each command took stands in its first event. So within
an append time runs back from `at`. Invariant: starts and ends lie between the append before and `at`, and what came
later on the stream never ends earlier, but for effects that were attempted at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from telemetry.events import Recorded

OUTCOMES: Final = frozenset({"execute.succeeded", "execute.failed", "execute.unknown"})


def layout(events: Sequence[Recorded], floor: int) -> list[tuple[int, int]]:
    """Start and end of each event's command, UTC ns. `floor` is `at` of the append before the first of `events`."""
    times: list[tuple[int, int]] = [(0, 0)] * len(events)
    first = 0
    while first < len(events):
        at = events[first].at
        beyond = first + 1
        while beyond < len(events) and events[beyond].at == at:
            beyond += 1
        end = max(at, floor)  # a clock that was set back
        _append(events, times, first, beyond, floor, end)
        first, floor = beyond, end
    return times


def _append(
    events: Sequence[Recorded], times: list[tuple[int, int]], first: int, beyond: int, floor: int, end: int
) -> None:
    while beyond > first:
        command, last = events[beyond - 1].command, beyond - 1
        while last > first and events[last - 1].command == command:
            last -= 1
        if events[last].type in OUTCOMES and last > first and events[last - 1].type in OUTCOMES:
            beyond, end = _together(events, times, first, beyond, floor, end)
            continue
        start = end - events[last].elapsed_ns
        if start < floor:
            start = floor
        interval = (start, end)
        for place in range(last, beyond):
            times[place] = interval
        beyond, end = last, start


def _together(
    events: Sequence[Recorded], times: list[tuple[int, int]], first: int, beyond: int, floor: int, end: int
) -> tuple[int, int]:
    """The calls of one decision are made at once: their outcomes, one a command, begin together."""
    last = beyond
    while last > first and events[last - 1].type in OUTCOMES:
        last -= 1
    start = max(end - max(event.elapsed_ns for event in events[last:beyond]), floor)
    for place in range(last, beyond):
        times[place] = (start, min(start + events[place].elapsed_ns, end))
    return last, start
