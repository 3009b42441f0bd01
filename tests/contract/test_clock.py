"""The writer's clock is written down and decides nothing."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from telemetry.events import Recorded
from telemetry.log import EventLog
from tests.contract.stores import Store, fill, note

HOUR_NS = 3_600 * 10**9
JUMPS = (0, 5, -7, -400_000, 2, 0, -3)
"""By how many hours the clock is off, append by append."""


@pytest.fixture
def _jumping(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is off by JUMPS, over and over."""
    true, calls = time.time_ns, 0

    def off() -> int:
        nonlocal calls
        calls += 1
        return true() + JUMPS[calls % len(JUMPS)] * HOUR_NS

    monkeypatch.setattr(time, "time_ns", off)


@pytest.mark.usefixtures("_jumping")
def test_a_clock_that_jumps_backwards_leaves_every_order_as_it_was_acknowledged(store: Store) -> None:
    log = store.open()
    subscription = log.subscribe()
    kept: list[Recorded] = []
    for number in range(3 * len(JUMPS)):
        for stream in ("a", "b"):
            kept += log.append(stream, [note(command=f"{number}")], expected_version=number, epoch=1)
    assert any(before.at > after.at for before, after in pairwise(kept)), "the clock did jump"
    assert [event.position for event in kept] == list(range(1, len(kept) + 1))
    assert list(log.read_all()) == kept
    for stream in ("a", "b"):
        own = [event for event in kept if event.stream == stream]
        assert list(log.read(stream)) == own
        assert list(log.read_back(stream)) == own[::-1]
        head = log.head(stream)
        assert head is not None
        assert (head.version, head.hash) == (len(own), own[-1].hash)
    seen: list[int] = []
    while subscription.position < len(kept):
        seen += [event.position for event in subscription.next(timeout_s=30).events]
    assert seen == list(range(1, len(kept) + 1))
    assert log.verify(seal=log.seal()).ok


@pytest.mark.usefixtures("_jumping")
def test_a_command_is_the_same_whatever_the_clock_says(log: EventLog) -> None:
    first = fill(log, "a", len(JUMPS))
    for event in first:
        draft = note(f"a {event.command.removeprefix('c')} 0", command=event.command)
        assert log.append("a", [draft], expected_version=len(first), epoch=1) == (event,)
