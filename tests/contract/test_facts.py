"""What a history read in one pass promises: it is the stream's, and nothing that was altered gets through."""

from __future__ import annotations

from dataclasses import fields

import orjson
import pytest

from telemetry.errors import ChainBroken, InvalidEvent, LogDamaged
from telemetry.events import Draft, Recorded, session
from telemetry.log import EventLog
from telemetry.log.facts import Anchor, Fact
from tests.contract.stores import Store, fill, note, notes
from tests.local import facts_of

COLUMNS = [field.name for field in fields(Recorded) if field.name != "content"]
MANY = 1_300
"""More than two pages."""


def altered(value: object) -> object:
    """Another value of the same type."""
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:]
    return value + 1_000 if isinstance(value, int) else f"{value}x"


def forked(log: EventLog, parent: str, at: int, stream: str, *, then: int) -> None:
    (cut,) = log.read(parent, after=at - 1, to=at)
    pointer = Draft(event=session.Forked(parent=parent, at_version=at, at_hash=cut.hash.hex()), command="fork")
    log.append(stream, [pointer, *notes(then, command="own")], expected_version=at, epoch=1)


def family(log: EventLog) -> None:
    """`a` over several pages, its fork `b`, and `c` forked from `b`."""
    fill(log, "a", 13, each=MANY // 13)
    forked(log, "a", 1_200, "b", then=20)
    forked(log, "b", 1_210, "c", then=5)


def before_it_broke(log: EventLog, stream: str) -> list[Fact]:
    """What a checked history gave before it was refused."""
    given: list[Fact] = []
    with pytest.raises(ChainBroken, match="aether log verify"):
        given.extend(log.facts(stream))
    return given


@pytest.mark.parametrize("checked", [True, False])
def test_the_facts_of_a_stream_are_those_of_its_events(log: EventLog, checked: bool) -> None:
    family(log)
    for stream in ("a", "b", "c", "nothing"):
        whole = list(facts_of(log.read(stream)))
        assert list(log.facts(stream, checked=checked)) == whole
        assert list(log.facts(stream, to=1_205, checked=checked)) == whole[:1_205]


@pytest.mark.parametrize("version", [0, 1, 512, 1_199, 1_200, 1_201, 1_210, 1_211, 1_216])
def test_facts_go_on_from_any_event(log: EventLog, version: int) -> None:
    family(log)
    events = list(log.read("c"))
    start = Anchor(version, events[version - 1].hash, events[version - 1].position) if version else Anchor()
    assert list(log.facts("c", start=start)) == list(facts_of(events[version:]))


def test_facts_do_not_go_on_from_an_event_that_is_not_there(log: EventLog) -> None:
    family(log)
    with pytest.raises(ChainBroken):
        next(log.facts("c", start=Anchor(7, b"\x01" * 32, 7)))


@pytest.mark.parametrize("column", [column for column in COLUMNS if column not in ("stream", "position")])
@pytest.mark.parametrize("place", [0, 2, 4])
def test_altering_any_column_of_any_event_stops_a_checked_history_there(store: Store, column: str, place: int) -> None:
    log = store.open()
    event = fill(log, "a", 5)[place]
    log.close()
    store.alter(event, column, altered(getattr(event, column)))
    log = store.open(mode="read")
    assert [version for _, _, version, *_ in before_it_broke(log, "a")] == list(range(1, place + 1))
    assert not log.verify(streams=["a"]).ok


def test_positions_out_of_order_stop_a_checked_history(store: Store) -> None:
    log = store.open()
    event = fill(log, "a", 5)[2]
    log.close()
    store.alter(event, "position", 1_000)
    assert len(before_it_broke(store.open(mode="read"), "a")) == 3


@pytest.mark.parametrize("column", ["payload", "hash"])
def test_an_unchecked_history_reads_on(store: Store, column: str) -> None:
    log = store.open()
    event = fill(log, "a", 5)[2]
    log.close()
    store.alter(event, column, altered(getattr(event, column)))
    assert len(list(store.open(mode="read").facts("a", checked=False))) == 5


@pytest.mark.parametrize("version", [1, 3])
def test_a_missing_event_stops_a_checked_history_before_it(store: Store, version: int) -> None:
    log = store.open()
    fill(log, "a", 5)
    log.close()
    store.delete(f"stream = 'a' AND version = {version}")
    assert len(before_it_broke(store.open(mode="read"), "a")) == version - 1


@pytest.mark.parametrize("gone", [True, False])
def test_content_that_is_missing_or_altered_stops_a_checked_history(store: Store, gone: bool) -> None:
    log = store.open()
    kept = log.append("a", [note("x" * 50_000), note("y" * 50_000, ordinal=1)], expected_version=0, epoch=1)
    assert [body for *_, body in log.facts("a")] == [event.content for event in kept]
    store.alter_blob(orjson.loads(kept[1].payload)["blob"], None if gone else b"another")
    assert len(before_it_broke(log, "a")) == 1
    *_, (*_, body) = log.facts("a", checked=False)
    assert body is None


@pytest.mark.parametrize("column", COLUMNS)
def test_altering_the_event_that_makes_a_fork_stops_its_history_there(store: Store, column: str) -> None:
    log = store.open()
    fill(log, "a", 5)
    forked(log, "a", 3, "b", then=2)
    (event,) = log.read("b", after=3, to=4)
    log.close()
    store.alter(event, column, altered(getattr(event, column)))
    log = store.open(mode="read")
    with pytest.raises((LogDamaged, InvalidEvent)):
        list(log.facts("b"))
    assert len(list(log.facts("a"))) == 5


def test_a_parent_that_was_altered_or_rewritten_stops_the_history_of_its_fork(store: Store) -> None:
    log = store.open()
    events = fill(log, "a", 5)
    forked(log, "a", 3, "b", then=2)
    forked(log, "a", 1, "c", then=2)
    log.close()
    store.alter(events[2], "payload", b"{}")
    log = store.open(mode="read")
    assert len(before_it_broke(log, "b")) == 2
    assert len(list(log.facts("c"))) == 4
    log.close()
    store.delete("stream = 'a'")
    log = store.open()
    fill(log, "a", 5, each=2)
    assert len(before_it_broke(log, "b")) == 3
