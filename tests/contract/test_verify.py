"""What verification finds."""

from __future__ import annotations

from dataclasses import fields

import orjson
import pytest

from telemetry.errors import InvalidSeal
from telemetry.events import Recorded
from telemetry.log import EventLog, Seal, VerifyReport
from tests.contract.stores import Store, fill, note, notes

COLUMNS = [field.name for field in fields(Recorded) if field.name != "content"]


def two_streams(log: EventLog) -> list[Recorded]:
    """Events of `a` and `b` by turns, three versions each, in position order."""
    kept: list[Recorded] = []
    for number in range(3):
        for stream in ("a", "b"):
            kept += log.append(stream, [note(f"{number}", command=f"{number}")], expected_version=number, epoch=1)
    return kept


def altered(value: object) -> object:
    """Another value of the same type."""
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:]
    return value + 1_000 if isinstance(value, int) else f"{value}x"


def named(report: VerifyReport) -> set[tuple[str, int]]:
    return {(problem.stream, problem.version) for problem in report.problems}


def test_a_whole_log_is_intact(store: Store) -> None:
    log = store.open()
    two_streams(log)
    report = log.verify()
    assert (report.ok, report.events, report.streams, report.as_of, report.intact) == (True, 6, 2, 6, {})
    assert store.open(mode="read").verify() == report


def test_an_empty_log_is_intact(log: EventLog) -> None:
    assert log.verify().ok


@pytest.mark.parametrize("place", [0, 2, 3, 5])
@pytest.mark.parametrize("column", COLUMNS)
def test_altering_any_column_of_any_event_names_that_event(store: Store, column: str, place: int) -> None:
    log = store.open()
    event = two_streams(log)[place]
    log.close()
    store.alter(event, column, altered(getattr(event, column)))
    report = store.open(mode="read").verify()
    assert (event.stream, event.version) in named(report)
    bystanders = {stream for stream, _ in named(report)} - {event.stream, "", f"{event.stream}x"}
    assert not bystanders
    if event.stream in report.intact:
        assert report.intact[event.stream] == event.version - 1


@pytest.mark.parametrize("column", [column for column in COLUMNS if column not in ("stream", "position")])
def test_the_altered_event_is_named_when_only_its_stream_is_checked(store: Store, column: str) -> None:
    log = store.open()
    event = two_streams(log)[2]
    log.close()
    store.alter(event, column, altered(getattr(event, column)))
    log = store.open(mode="read")
    assert named(log.verify(streams=["a"])) == {("a", 2)}
    assert log.verify(streams=["b"]).ok


def test_positions_out_of_order_are_found_when_only_their_stream_is_checked(store: Store) -> None:
    log = store.open()
    event = two_streams(log)[2]
    log.close()
    store.alter(event, "position", 1_000)
    (problem,) = store.open(mode="read").verify(streams=["a"]).problems
    assert (problem.stream, problem.what) == ("a", "position")


@pytest.mark.parametrize("position", [0, -5, 7, 2**62])
def test_an_event_outside_the_positions_is_named(store: Store, position: int) -> None:
    log = store.open()
    event = two_streams(log)[-1]
    log.close()
    store.alter(event, "position", position)
    report = store.open(mode="read").verify()
    assert (event.stream, event.version) in named(report)


def test_payload_and_digest_altered_together_break_the_chain(store: Store) -> None:
    log = store.open()
    event = two_streams(log)[2]
    (other,) = log.append("other", [note("forged")], expected_version=0, epoch=1)
    log.close()
    store.alter(event, "payload", other.payload)
    store.alter(event, "digest", other.digest)
    (problem,) = store.open(mode="read").verify().problems
    assert (problem.stream, problem.version, problem.what) == ("a", 2, "hash")


@pytest.mark.parametrize("version", [1, 2])
def test_a_missing_event_is_named_and_what_is_before_it_is_intact(store: Store, version: int) -> None:
    log = store.open()
    two_streams(log)
    log.close()
    store.delete(f"stream = 'a' AND version = {version}")
    report = store.open(mode="read").verify()
    assert ("a", version) in named(report)
    assert report.intact == {"a": version - 1}
    assert [problem.what for problem in report.problems] == ["missing", "gap"]


def test_the_first_bad_event_of_every_stream_is_reported(store: Store) -> None:
    log = store.open()
    events = two_streams(log)
    log.close()
    for event in (events[2], events[4], events[5]):
        store.alter(event, "payload", b"{}")
    report = store.open(mode="read").verify()
    assert named(report) == {("a", 2), ("b", 3)}
    assert report.intact == {"a": 1, "b": 2}


def test_a_report_says_what_is_wrong_what_is_intact_and_what_to_do(store: Store) -> None:
    log = store.open()
    event = two_streams(log)[4]
    log.close()
    store.alter(event, "payload", b"{}")
    text = str(store.open(mode="read").verify())
    assert "event 3 of a" in text
    assert "events 1–2 are intact" in text
    assert "aether log export a --to 2" in text


@pytest.mark.parametrize("content", [None, b"", b"something else"])
def test_missing_and_altered_content_is_found(store: Store, content: bytes | None) -> None:
    log = store.open()
    log.append("a", [note(), note("x" * 50_000, ordinal=1)], expected_version=0, epoch=1)
    store.alter_blob(orjson.loads(list(log.read("a"))[1].payload)["blob"], content)
    (problem,) = log.verify().problems
    assert (problem.stream, problem.version, problem.what) == ("a", 2, "blob")


def sealed(store: Store) -> Seal:
    """A log of two streams, its seal as it was kept outside, and the log closed."""
    log = store.open()
    two_streams(log)
    seal = Seal.from_json(log.seal().to_json())
    log.close()
    return seal


def test_a_sealed_log_is_intact_before_and_after_it_has_grown(store: Store) -> None:
    seal = sealed(store)
    log = store.open()
    assert (seal.as_of, [head[:2] for head in seal.heads]) == (6, [("a", 3), ("b", 3)])
    assert log.verify(seal=seal).ok
    log.append("a", notes(5, command="more"), expected_version=3, epoch=1)
    fill(log, "new", 2)
    assert log.verify(seal=seal).ok
    assert log.verify(seal=seal, streams=["a"]).ok
    assert log.seal() != seal


def test_a_cut_tail_is_found_with_a_seal_and_only_with_one(store: Store) -> None:
    seal = sealed(store)
    store.delete("stream = 'b' AND version = 3")
    log = store.open(mode="read")
    assert log.verify().ok
    report = log.verify(seal=seal)
    assert named(report) == {("b", 3)}
    assert report.problems[0].what == "cut"
    assert report.intact == {"b": 2}


def test_a_cut_tail_that_was_written_over_is_found_with_a_seal(store: Store) -> None:
    seal = sealed(store)
    store.delete("stream = 'b' AND version = 3")
    log = store.open()
    log.append("b", [note("another end", command="x")], expected_version=2, epoch=1)
    assert log.verify().ok
    assert named(log.verify(seal=seal)) == {("b", 3)}


def test_a_deleted_stream_is_found_with_a_seal(store: Store) -> None:
    log = store.open()
    fill(log, "a", 2)
    fill(log, "b", 2)
    seal = log.seal()
    log.close()
    store.delete("stream = 'b'")
    report = store.open(mode="read").verify(seal=seal)
    assert [(problem.stream, problem.what) for problem in report.problems] == [("b", "deleted")]


def test_a_stream_that_was_rewritten_whole_is_found_with_a_seal(store: Store) -> None:
    log = store.open()
    fill(log, "a", 1)
    fill(log, "b", 2)
    seal = log.seal()
    log.close()
    store.delete("stream = 'b'")
    log = store.open()
    log.append("b", [note("a forged past"), note("and present", ordinal=1)], expected_version=0, epoch=1)
    assert log.verify().ok
    report = log.verify(seal=seal)
    assert [(problem.stream, problem.what) for problem in report.problems] == [("b", "seal")]
    assert report.intact == {"b": 0}


def test_a_seal_that_contradicts_itself_is_refused(store: Store) -> None:
    seal = sealed(store)
    forged = Seal(as_of=seal.as_of, root=seal.root, heads=seal.heads[:1])
    with pytest.raises(InvalidSeal):
        store.open(mode="read").verify(seal=forged)
    with pytest.raises(InvalidSeal):
        Seal.from_json(forged.to_json())
    for text in ("", "{}", "[1]", '{"format": "another"}'):
        with pytest.raises(InvalidSeal):
            Seal.from_json(text)
