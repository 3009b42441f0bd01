"""Laws of rebuilding a log from its records, whatever became of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry.events import Recorded
from telemetry.log import EventLog, open_log
from telemetry.log.stretches import Stretches
from telemetry.otel import names
from telemetry.otel.files import OtlpFile, logs_line
from telemetry.otel.history import Rebuilt
from telemetry.otel.rebuild import rebuild
from telemetry.otel.record import Detail, record_of
from tests.contract.stores import notes
from tests.contract.test_fork import fork

STREAMS = ("session/a", "session/b", "model/m")


class Given(NamedTuple):
    """An event that was recorded, by its place in the log, and how."""

    place: int
    detail: Detail


appends = st.lists(st.tuples(st.sampled_from(STREAMS), st.integers(1, 3), st.booleans()), min_size=1, max_size=10)
"""Which stream is appended to, with how many events of one command, and whether a fork is cut off it then."""


@contextmanager
def written(steps: Sequence[tuple[str, int, bool]]) -> Iterator[tuple[Path, EventLog, list[Recorded]]]:
    with tempfile.TemporaryDirectory() as name, closing(open_log(Path(name) / "source.db")) as log:
        cut: list[str] = []
        for number, (stream, count, forks) in enumerate(steps):
            stream = cut[-1] if cut and number % 3 == 2 else stream
            head = log.head(stream)
            version, epoch = (head.version, head.epoch) if head else (0, 1)
            log.append(stream, notes(count, command=f"{number}"), expected_version=version, epoch=epoch + number % 2)
            if forks:
                cut.append(f"session/f{number}")
                fork(log, stream, version + 1, cut[-1], then=number % 2)
        yield Path(name), log, list(log.read_all())


def rebuilt(folder: Path, log: EventLog, source: EventLog, events: list[Recorded], given_: Sequence[Given]) -> Rebuilt:
    path = folder / f"{len(list(folder.iterdir()))}.jsonl"
    with OtlpFile(path) as file:
        for begin in range(0, len(given_), 4):
            some = [record_of(events[one.place], detail=one.detail) for one in given_[begin : begin + 4]]
            file.append(logs_line(some, resource={names.LOG_ID: source.id}))
    return rebuild(log, [path])


@st.composite
def shuffled(draw: st.DrawFn, count: int, *, all_: bool) -> list[Given]:
    """Records of `count` events, each at least once if `all_`, in any order, with repeats."""
    details: st.SearchStrategy[Detail] = st.sampled_from(("stored", "digest"))
    once = [Given(place, draw(details)) for place in range(count) if all_ or draw(st.integers(0, 5))]
    more = draw(st.lists(st.builds(Given, st.sampled_from([one.place for one in once] or [0]), details), max_size=5))
    return draw(st.permutations(once + (more if once else [])))


@settings(deadline=None, max_examples=60)
@given(st.data(), appends)
def test_all_records_in_any_order_give_the_log(data: st.DataObject, steps: list[tuple[str, int, bool]]) -> None:
    with written(steps) as (folder, source, events), closing(open_log(folder / "log.db")) as log:
        given_ = data.draw(shuffled(len(events), all_=True))
        done = rebuilt(folder, log, source, events, given_)
        assert done.whole
        assert log.seal() == source.seal()
        assert (done.records, done.repeats) == (len(events), len(given_) - len(events))
        assert log.verify().ok
        stored = {one.place for one in given_ if one.detail == "stored" or events[one.place].type == "session.forked"}
        assert ids(done.withheld) == {event.id for place, event in enumerate(events) if place not in stored}


@settings(deadline=None, max_examples=100)
@given(st.data(), appends)
def test_whatever_is_lost_every_event_is_in_the_log_or_told_of(
    data: st.DataObject, steps: list[tuple[str, int, bool]]
) -> None:
    with written(steps) as (folder, source, events), closing(open_log(folder / "log.db")) as log:
        given_ = data.draw(shuffled(len(events), all_=False).filter(bool))
        done = rebuilt(folder, log, source, events, given_)
        assert log.verify().ok
        taken = list(log.read_all())
        by_id = {event.id: event for event in events}
        assert all(event.hash == by_id[event.id].hash for event in taken)
        last = max(one.place for one in given_) + 1
        named = {events[one.place].id for one in given_}
        kept = {event.id for event in taken}
        assert named == kept | ids(done.held)
        assert not kept & ids(done.held)
        assert not named & ids(done.missing)
        assert len(taken) + done.held.events + done.missing.events + done.unnamed >= last
        assert done.whole == (len(taken) == last)
        again = rebuilt(folder, log, source, events, [Given(place, "stored") for place in range(len(events))])
        assert again.whole
        assert log.seal() == source.seal()
        assert not log.verify().withheld


def ids(stretches: Stretches) -> set[str]:
    return {f"{one.stream}@{version}" for one in stretches for version in range(one.first, one.last + 1)}
