"""Laws of rebuilding a log from its records, whatever became of them."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry.errors import ImportRefused
from telemetry.events import Recorded
from telemetry.log import EventLog, open_log
from telemetry.log.stretches import Stretches
from telemetry.otel import names
from telemetry.otel.files import OtlpFile, logs_line
from telemetry.otel.rebuild import Rebuilt, rebuild
from telemetry.otel.rebuild.reading import read_logs
from telemetry.otel.record import Detail, is_ours, record_of
from tests.anything import JSON
from tests.contract.stores import notes
from tests.contract.test_fork import fork
from tests.contract.test_rebuild import framed

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


FORMS = ("lines", "protobuf", "gzip")


@st.composite
def mutations(draw: st.DrawFn, content: bytes) -> bytes:
    """The content with some bytes altered, left out or doubled."""
    for _ in range(draw(st.integers(1, 4))):
        begin = draw(st.integers(0, max(0, len(content) - 1)))
        end = min(len(content), begin + draw(st.sampled_from((0, 1, 2, 50, 400))))
        new = draw(st.one_of(st.binary(max_size=3), st.just(content[begin:end] * 2), st.just(b"\n")))
        content = content[:begin] + new + content[end:]
    return content


@settings(deadline=None, max_examples=80)
@given(st.data(), appends, st.sampled_from(FORMS))
def test_whatever_became_of_a_file_nothing_comes_out_of_it_that_was_not_in_the_log(
    data: st.DataObject, steps: list[tuple[str, int, bool]], form: str
) -> None:
    with written(steps) as (folder, source, events), closing(open_log(folder / "log.db")) as log:
        records = [record_of(event, detail="stored") for event in events]
        lines = b"".join(logs_line([record], resource={names.LOG_ID: source.id}) for record in records)
        content = data.draw(mutations(framed(lines) if form == "protobuf" else lines))
        path = folder / "odd"
        path.write_bytes(gzip.compress(content, mtime=0) if form == "gzip" else content)
        with suppress(ImportRefused):
            rebuild(log, [path])
        assert log.verify().ok
        hashes = {event.hash for event in events}
        assert all(event.hash in hashes for event in log.read_all())


FIELDS = [
    "resourceLogs",
    "scopeLogs",
    "logRecords",
    "resource",
    "attributes",
    "key",
    "value",
    "stringValue",
    "body",
    "bytesValue",
    "timeUnixNano",
    "eventName",
    "traceId",
    "spanId",
    "resourceSpans",
]
documents = st.recursive(
    JSON,
    lambda inner: st.dictionaries(st.sampled_from(FIELDS), st.one_of(inner, st.lists(inner, max_size=2)), max_size=4),
    max_leaves=12,
)
"""JSON that may look like OTLP."""


@settings(deadline=None, max_examples=200)
@given(st.lists(documents, max_size=4))
def test_any_json_is_read_or_told(lines: list[object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "odd.jsonl"
        path.write_bytes(b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines))
        with suppress(ImportRefused):
            assert not any(is_ours(found.record) for found in read_logs(path, broken=lambda _: None))


def ids(stretches: Stretches) -> set[str]:
    return {f"{one.stream}@{version}" for one in stretches for version in range(one.first, one.last + 1)}
