"""What a log promises of events whose payloads are not in it, as when it was rebuilt from their digests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from telemetry.errors import ChainBroken, ImportRefused, InvalidEvent
from telemetry.events import Recorded
from telemetry.log import EventLog, open_log
from telemetry.log.export import event_of as event_of_line
from telemetry.log.export import export_lines
from telemetry.log.imports import Importer, import_archive, import_lines
from telemetry.log.retention.archive import write_archive
from telemetry.otel.record import event_of, record_of
from tests.contract.stores import Store, fill, note
from tests.contract.test_fork import fork


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[EventLog]:
    """A log with a fork and a content beside its rows, all of whose payloads are there."""
    log = open_log(tmp_path / "whole.db")
    fill(log, "a", 4, each=2)
    fork(log, "a", 5, "b", then=2)
    log.append("b", [note("x" * 50_000, command="big")], expected_version=8, epoch=1)
    yield log
    log.close()


def withheld(event: Recorded) -> Recorded:
    return event_of(record_of(event, detail="digest"))


def take(log: EventLog, events: Iterator[Recorded]) -> None:
    importer = Importer(log)
    for number, event in enumerate(events, start=1):
        importer.take(number, event)
    importer.flush()


def test_a_log_without_payloads_has_the_same_seal_and_verifies(store: Store, whole: EventLog) -> None:
    log = store.open()
    take(log, map(withheld, whole.read_all()))
    assert log.seal() == whole.seal()
    report = log.verify(seal=whole.seal())
    assert report.ok
    assert [str(stretch) for stretch in report.withheld] == ["a@1–8", "b@7–9"], "b@6 says where the fork goes on from"
    assert "the payloads of 11 are withheld" in str(report)
    assert log.verify(streams=["b"]).ok
    assert not whole.verify().withheld


def test_a_fork_reads_its_parents_events_also_without_payloads(store: Store, whole: EventLog) -> None:
    log = store.open()
    take(log, map(withheld, whole.read_all()))
    assert [event.id for event in log.read("b")] == [event.id for event in whole.read("b")]
    assert log.origin("b") == whole.origin("b")


def test_a_withheld_payload_says_that_it_is_and_folding_gets_none(store: Store, whole: EventLog) -> None:
    log = store.open()
    take(log, map(withheld, whole.read_all()))
    (event,) = log.read("a", to=1)
    with pytest.raises(InvalidEvent, match="the payload of event a@1 is withheld"):
        _ = event.event
    assert [(version, body) for _, _, version, *_, body in log.facts("a")] == [(n, None) for n in range(1, 9)]


def test_what_was_appended_after_a_rebuild_goes_on_from_withheld_events(store: Store, whole: EventLog) -> None:
    log = store.open()
    take(log, map(withheld, whole.read_all()))
    first = [note("a 0 0", command="c0"), note("a 0 1", command="c0", ordinal=1)]
    same = log.append("a", first, expected_version=8, epoch=1)
    assert [event.id for event in same] == ["a@1", "a@2"], "the command stands, and its content is told by the digest"
    (more,) = log.append("a", [note("more", command="more")], expected_version=8, epoch=1)
    assert (more.id, log.verify().ok) == ("a@9", True)


@pytest.mark.parametrize("column", ["digest", "command", "payload", "at"])
def test_an_alteration_of_a_withheld_event_is_found(store: Store, whole: EventLog, column: str) -> None:
    log = store.open()
    take(log, map(withheld, whole.read_all()))
    event = next(log.read("a", after=2, to=3))
    log.close()
    altered = {"digest": bytes(32), "command": "forged", "payload": b"zstd", "at": 1}[column]
    store.alter(event, column, altered)
    again = store.open(mode="read")
    (problem, *_) = again.verify().problems
    assert (problem.stream, problem.version, problem.what) == ("a", 3, "hash")
    with pytest.raises(ChainBroken):
        list(again.facts("a"))


def test_a_payload_that_somebody_takes_away_is_listed(store: Store) -> None:
    log = store.open()
    fill(log, "a", 3)
    event = next(log.read("a", after=1, to=2))
    log.close()
    store.alter(event, "encoding", "withheld")
    store.alter(event, "payload", b"plain")
    report = store.open(mode="read").verify()
    assert report.ok
    assert [str(stretch) for stretch in report.withheld] == ["a@2"]


def test_withheld_events_are_exported_and_imported_as_they_are(store: Store, tmp_path: Path, whole: EventLog) -> None:
    log = store.open()
    take(log, map(withheld, whole.read_all()))
    lines = list(export_lines(log.read_all()))
    other = open_log(tmp_path / "other.db")
    done = import_lines(other, lines)
    assert (done.new, done.withheld, done.without_content) == (12, 11, 0)
    assert "the payloads of 11 are withheld" in str(done)
    assert list(export_lines(other.read_all())) == lines
    assert other.seal() == whole.seal()
    other.close()


def test_an_import_of_withheld_events_leaves_payloads_that_stand(store: Store, whole: EventLog) -> None:
    log = store.open()
    lines = list(export_lines(whole.read_all()))
    import_lines(log, lines)
    done = import_lines(log, export_lines(map(withheld, whole.read_all())))
    assert (done.new, done.stood) == (0, 12)
    assert list(export_lines(log.read_all())) == lines


def test_withheld_events_go_through_an_archive(store: Store, tmp_path: Path, whole: EventLog) -> None:
    log = store.open()
    take(log, map(withheld, whole.read_all()))
    write_archive(log, "a", tmp_path)
    (path,) = tmp_path.glob("*.parquet")
    other = open_log(tmp_path / "other.db")
    assert import_archive(other, path).withheld == 8
    assert other.head("a") == log.head("a")
    other.close()


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"payload": "Plain!"}, "does not name the encoding"),
        ({"payload": "withheld"}, "does not name the encoding"),
        ({"payload": "zstd"}, "was altered: its hash is"),
        ({"content_base64": "eHg="}, "does not name the encoding"),
    ],
)
def test_a_line_that_only_says_to_be_withheld_is_refused(
    log: EventLog, whole: EventLog, columns: dict[str, str], words: str
) -> None:
    (line,) = export_lines([withheld(next(whole.read("a", to=1)))])
    with pytest.raises(ImportRefused, match=words):
        import_lines(log, [orjson.dumps({**orjson.loads(line), **columns})])


def test_a_pointer_is_never_withheld(log: EventLog, whole: EventLog) -> None:
    pointer = next(event for event in whole.read("b") if event.type == "session.forked")
    assert withheld(pointer) == pointer
    (line,) = export_lines([pointer])
    without = line.replace(b'"plain"', b'"withheld"').replace(
        line.partition(b'"payload":"')[2].partition(b'","phase')[0], b"plain"
    )
    with pytest.raises(InvalidEvent, match=r"cannot be put together without a session\.forked"):
        event_of_line(without)
