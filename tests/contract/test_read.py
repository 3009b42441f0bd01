"""What reading promises."""

from __future__ import annotations

import orjson
import pytest

from telemetry.errors import InvalidEvent, LogDamaged
from telemetry.events import Event, Unknown
from telemetry.events.registry import CLASSES
from telemetry.log import EventLog
from telemetry.log.export import export_lines
from tests.contract.stores import Store, fill, note, notes, why

MANY = 1_300
"""More than two pages."""


@pytest.fixture
def long(log: EventLog) -> EventLog:
    """A log with a stream `a` of MANY events, and a few others around it."""
    fill(log, "before", 1)
    fill(log, "a", 13, each=MANY // 13)
    fill(log, "z", 3)
    return log


def test_a_stream_is_read_whole_over_many_pages(long: EventLog) -> None:
    assert [event.version for event in long.read("a")] == list(range(1, MANY + 1))
    assert [event.version for event in long.read_back("a")] == list(range(MANY, 0, -1))


@pytest.mark.parametrize(("after", "to"), [(0, 3), (5, 5), (512, 1024), (7, MANY), (MANY, None), (3, MANY + 50)])
def test_a_stretch_is_read_from_above_after_up_to_to(long: EventLog, after: int, to: int | None) -> None:
    expected = list(range(after + 1, min(MANY, MANY if to is None else to) + 1))
    assert [event.version for event in long.read("a", after=after, to=to)] == expected


def test_reading_back_begins_below_before(long: EventLog) -> None:
    assert [event.version for event in long.read_back("a", before=4)] == [3, 2, 1]
    assert next(long.read_back("a", before=MANY + 100)).version == MANY
    assert list(long.read_back("a", before=1)) == []


def test_only_the_asked_types_are_read(log: EventLog) -> None:
    fill(log, "a", 3)
    assert [event.version for event in log.read("a", types=["learn.corrected"])] == [1, 2, 3]
    assert list(log.read("a", types=["learn.rewarded"])) == []
    assert list(log.read_back("a", types=["learn.rewarded"])) == []
    assert [event.position for event in log.read_all(types={"learn.corrected", "learn.rewarded"})] == [1, 2, 3]
    assert list(log.read_all(types=["learn.rewarded"])) == []


def test_all_streams_are_read_in_position_order(long: EventLog) -> None:
    last = MANY + 4
    assert [event.position for event in long.read_all()] == list(range(1, last + 1))
    assert [event.position for event in long.read_all(after=600, to=700)] == list(range(601, 701))
    assert {event.stream for event in long.read_all(after=last - 3)} == {"z"}


def test_reading_ends_at_the_head_it_found_when_it_began(log: EventLog) -> None:
    fill(log, "a", 2)
    reading, everything = log.read("a"), log.read_all()
    seen = [next(reading), next(everything)]
    log.append("a", [note(command="later")], expected_version=2, epoch=1)
    assert [event.version for event in (*seen, *reading, *everything)] == [1, 1, 2, 2]


def test_a_stream_that_is_not_there_is_empty(log: EventLog) -> None:
    assert log.head("a") is None
    assert not [*log.read("a"), *log.read_back("a"), *log.read_all(), *log.heads()]
    assert log.position() == 0


def test_heads_come_in_name_order_and_in_pages(log: EventLog) -> None:
    names = ["model/x", "session/10", "session/2", "session/A", "session/a", "session/é", "session/😀", "system"]
    for name in reversed(names):
        fill(log, name, 2)
    found: list[str] = []
    while page := log.heads(after=found[-1] if found else "", limit=3):
        assert all(head == log.head(head.stream) for head in page)
        found += [head.stream for head in page]
    assert found == names
    assert [head.stream for head in log.heads(prefix="session/")] == names[1:-1]
    assert [head.stream for head in log.heads(prefix="session/", after="session/A", limit=2)] == names[4:6]
    assert log.heads(prefix="session/", after="t") == []


def test_a_head_is_the_last_event(log: EventLog) -> None:
    last = fill(log, "a", 3)[-1]
    head = log.head("a")
    assert head is not None
    assert (head.version, head.hash, head.epoch, head.position) == (3, last.hash, 1, 3)


def test_a_large_payload_goes_to_the_content_store_and_reads_as_if_it_had_not(log: EventLog) -> None:
    text = "x" * 50_000
    (kept,) = log.append("a", [note(text)], expected_version=0, epoch=1)
    (read,) = log.read("a")
    assert read == kept
    assert (read.encoding, why(read)) == ("blob", text)
    assert len(read.payload) < 200
    reference = orjson.loads(read.payload)
    assert log.get_blob(reference["blob"]) == read.content
    assert reference["bytes"] == len(read.content or b"")


def test_lost_content_leaves_the_rest_of_the_stream_readable(store: Store) -> None:
    log = store.open()
    log.append("a", [note("x" * 50_000), *notes(3)[1:]], expected_version=0, epoch=1)
    store.alter_blob(orjson.loads(next(log.read("a")).payload)["blob"], None)
    lost, *rest = log.read("a")
    assert [why(event) for event in rest] == ["1", "2"]
    with pytest.raises(InvalidEvent):
        _ = lost.event


def test_a_blob_is_kept_under_its_digest_and_once(log: EventLog) -> None:
    digest = log.put_blob(b"content")
    assert log.put_blob(b"content") == digest
    assert log.get_blob(digest) == b"content"


@pytest.mark.parametrize("digest", ["0" * 64, "../../log.db", ""])
def test_a_blob_that_is_not_there_is_damage(log: EventLog, digest: str) -> None:
    with pytest.raises(LogDamaged):
        log.get_blob(digest)


def test_an_altered_blob_is_never_handed_out(store: Store) -> None:
    log = store.open()
    digest = log.put_blob(b"content")
    store.alter_blob(digest, b"c0ntent")
    with pytest.raises(LogDamaged):
        log.get_blob(digest)


class FromTheFuture(Event):
    """An event that a later version of this package would know."""

    type: str = "learn.dreamt"
    dream: str


def test_an_unknown_type_stays_opaque_and_bit_exact(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as later:
        later.setitem(CLASSES, "learn.dreamt", FromTheFuture)
        draft = note().__class__(event=FromTheFuture(dream="ein Schäf"), command="c")
        (kept,) = log.append("a", [draft], expected_version=0, epoch=1)
    (read,) = log.read("a")
    assert read == kept
    assert read.event == Unknown(type="learn.dreamt", schema_number=1, payload='{"dream":"ein Schäf"}'.encode())
    assert log.verify().ok


def test_an_exported_line_holds_every_column_and_the_payload_bit_for_bit(log: EventLog) -> None:
    log.append("a", [note("é"), note("x" * 50_000, ordinal=1)], expected_version=0, epoch=1)
    for event, text in zip(log.read_all(), export_lines(log.read_all()), strict=True):
        line = orjson.loads(text)
        assert text == orjson.dumps(line, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)
        columns = {k: v for k, v in vars(event).items() if k not in ("content", "payload", "digest", "hash")}
        assert {k: line[k] for k in columns} == columns
        assert line["payload"].encode() == event.payload
        assert (line["digest"], line["hash"]) == (event.digest.hex(), event.hash.hex())
        assert ("content_base64" in line) == (event.content is not None)
