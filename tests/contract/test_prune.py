"""What removing the beginning of a stream promises, and putting it back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from telemetry.errors import EventsPruned, FencedWriter, ImportRefused, LogError, LogUnwritable, WrongExpectedVersion
from telemetry.events import Recorded, system
from telemetry.events.envelope import GENESIS
from telemetry.log import EventLog, Seal, open_log, scan
from telemetry.log.export import export_lines, export_whole
from telemetry.log.imports import import_archive, import_lines, lacking
from telemetry.log.retention.archive import ArchiveFile, digest_of, name_of, verify_archive, write_archive
from telemetry.log.rows import Row
from tests.contract.stores import Store, fill, note
from tests.contract.test_fork import fork, named


def two(log: EventLog) -> list[Recorded]:
    """`a` and `b` by turns, ten versions each, one with its content beside the log."""
    for number in range(5):
        for stream in ("a", "b"):
            drafts = [note(f"{stream}{number}", command=f"{number}"), note("é", command=f"{number}", ordinal=1)]
            if number == 2:
                drafts[1] = note("x" * 40_000, command=f"{number}", ordinal=1)
            log.append(stream, drafts, expected_version=2 * number, epoch=3)
    return list(log.read_all())


def prune(log: EventLog, folder: Path, stream: str, *, to: int | None = None) -> Recorded:
    """Archives the stream and removes it up to version `to`, or whole."""
    path = folder / name_of(stream)
    if not path.exists():
        write_archive(log, stream, folder)
    archive = verify_archive(path)
    last = archive.version if to is None else to
    with ArchiveFile(path) as file:
        end = next(event.hash for event in file.events() if event.version == last)
    return log.prune(stream, to=last, hash_=end.hex(), archive=path.name, digest=digest_of(path))


def exported(log: EventLog) -> list[bytes]:
    kept: list[Recorded] = []
    assert export_whole(log, kept.append).ok
    return list(export_lines(kept))


def test_a_removed_prefix_leaves_a_stream_that_verifies_from_its_anchor(store: Store, tmp_path: Path) -> None:
    log = store.open()
    before = two(log)
    fact = prune(log, tmp_path, "a", to=6)
    assert fact.position == len(before) + 1
    pruned = fact.event
    assert isinstance(pruned, system.Pruned)
    assert (pruned.stream, pruned.first, pruned.version, pruned.epoch, pruned.log) == ("a", 1, 6, 3, log.id)
    left = [event for event in before if event.stream == "b" or event.version > 6]
    assert list(log.read_all()) == [*left, fact]
    assert [event.version for event in log.read("a", after=6)] == [7, 8, 9, 10]
    for opened in (log, store.open(mode="read")):
        report = opened.verify()
        assert report.ok, str(report)
        assert str(report).endswith("15 events of 3 streams are intact up to position 21; 6 were archived and removed")
        assert opened.verify(streams=["a"]).ok
    head = log.head("a")
    assert head is not None
    assert (head.version, head.epoch) == (10, 3)


@pytest.mark.parametrize("to", [6, None])
def test_reading_what_was_removed_says_where_it_went(log: EventLog, tmp_path: Path, to: int | None) -> None:
    two(log)
    prune(log, tmp_path, "a", to=to)
    removed = log.removed("a")
    assert removed is not None
    assert (removed.version, removed.archive) == (to or 10, "a.parquet")
    assert f"removed from {log.name} on" in str(removed.error(log.name))
    assert log.removed("b") is None
    if to is None:
        assert log.head("a") is None
        assert list(log.read("a")) == []
        return
    back = log.read_back("a")
    assert [next(back).version for _ in range(4)] == [10, 9, 8, 7]
    for reading in (log.read("a"), log.read("a", after=5), log.read("a", to=2), log.facts("a"), back):
        with pytest.raises(EventsPruned, match=r"up to version 6 were archived and removed .* import a\.par") as caught:
            next(reading)
        assert log.name in str(caught.value)


def test_a_reader_between_two_pages_is_told_when_what_it_reads_is_removed(log: EventLog, tmp_path: Path) -> None:
    fill(log, "a", 3, each=600)
    reading = log.read("a")
    assert next(reading).version == 1
    prune(log, tmp_path, "a", to=1_500)
    with pytest.raises(EventsPruned):
        list(reading)
    assert len(list(log.read("a", after=1_500))) == 300


@pytest.mark.parametrize("to", [6, None], ids=["its beginning", "all of it"])
@pytest.mark.parametrize("types", [(), ("learn.corrected",)], ids=["every type", "some types"])
def test_a_reader_that_found_a_stream_is_told_when_it_is_removed_before_the_first_page(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: int | None, types: tuple[str, ...]
) -> None:
    two(log)
    rows, pruned = log._rows, list[Recorded]()  # type: ignore[attr-defined]  # where another host comes between

    def late(query: str, values: Sequence[str | int]) -> list[Row]:
        if "version <= ?" in query and not pruned:
            monkeypatch.undo()
            pruned.append(prune(log, tmp_path, "a", to=to))
        return list(rows(query, values))

    monkeypatch.setattr(log, "_rows", late)
    with pytest.raises(EventsPruned):
        list(log.read("a", types=types))
    assert pruned


def test_what_is_removed_while_the_log_is_verified_is_no_fault(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two(log)
    monkeypatch.setattr(scan, "PAGE_ROWS", 4)
    blobs = log._database.blobs  # type: ignore[attr-defined]  # a content is looked at between two pages
    fault = blobs.fault

    def meanwhile(digest: str) -> str | None:
        monkeypatch.undo()
        if log.removed("a") is None:
            prune(log, tmp_path, "a")
        return fault(digest)  # type: ignore[no-any-return]

    monkeypatch.setattr(blobs, "fault", meanwhile)
    report = log.verify()
    assert report.ok, str(report)
    assert (report.events, report.removed) == (11, 10)


def test_a_stream_goes_on_after_its_prefix_was_removed(store: Store, tmp_path: Path) -> None:
    log = store.open()
    two(log)
    prune(log, tmp_path, "a", to=6)
    assert log.append("a", [note(command="on")], expected_version=10, epoch=3)[0].id == "a@11"
    assert prune(log, tmp_path, "a", to=10).event.first == 7  # type: ignore[union-attr]
    log.close()
    log = store.open()
    assert log.append("a", [note(command="on more")], expected_version=11, epoch=3)[0].id == "a@12"
    assert log.verify().ok


def test_a_stream_that_was_removed_whole_cannot_begin_again(store: Store, tmp_path: Path) -> None:
    log = store.open()
    two(log)
    prune(log, tmp_path, "a")
    log.close()
    log = store.open()
    with pytest.raises(WrongExpectedVersion, match="a is at version 10"):
        log.append("a", [note("forged", command="x")], expected_version=0, epoch=9)
    with pytest.raises(FencedWriter):
        log.append("a", [note(command="late")], expected_version=10, epoch=2)
    assert [head.stream for head in log.heads()] == ["b", "system"]
    assert log.verify().ok
    assert log.append("a", [note(command="late")], expected_version=10, epoch=4)[0].id == "a@11"
    assert log.verify().ok


def test_positions_are_never_given_twice(log: EventLog, tmp_path: Path) -> None:
    fill(log, "b", 2)
    fill(log, "a", 3)
    subscription = log.subscribe(after=5)
    fact = prune(log, tmp_path, "a")
    assert fact.position == 6
    assert subscription.next(timeout_s=30).events == (fact,)
    assert log.append("b", [note(command="on")], expected_version=2, epoch=1)[0].position == 7
    assert [event.position for event in log.read_all()] == [1, 2, 6, 7]
    assert log.verify().ok


def test_a_subscriber_from_the_beginning_sees_what_is_left(log: EventLog, tmp_path: Path) -> None:
    before = two(log)
    prune(log, tmp_path, "a", to=9)
    subscription, seen = log.subscribe(), list[Recorded]()
    while subscription.position < len(before) + 1:
        seen += subscription.next(timeout_s=30).events
    assert [event.id for event in seen] == [event.id for event in log.read_all()]
    assert len(seen) == 12


def test_an_event_that_vanished_beside_removed_ones_is_found(store: Store, tmp_path: Path) -> None:
    log = store.open()
    two(log)
    fill(log, "gone", 2)
    prune(log, tmp_path, "a", to=6)
    log.close()
    store.delete("stream = 'gone'")
    report = store.open(mode="read").verify()
    assert [problem.what for problem in report.problems] == ["gap"]
    assert "not all gaps are of the 6 events that were removed" in str(report)


def test_the_first_event_after_the_anchor_is_checked_against_it(store: Store, tmp_path: Path) -> None:
    log = store.open()
    two(log)
    prune(log, tmp_path, "a", to=6)
    (first,) = log.read("a", after=6, to=7)
    log.close()
    store.alter(first, "cause", "b@1")
    log = store.open(mode="read")
    assert named(log.verify()) == [("a", 7, "hash")]
    log.close()
    store.alter(first, "cause", "")
    store.delete("stream = 'a' AND version = 7")
    assert ("a", 7, "missing") in named(store.open(mode="read").verify())


def test_a_fact_that_was_altered_is_found(store: Store, tmp_path: Path) -> None:
    log = store.open()
    two(log)
    fact = prune(log, tmp_path, "a", to=6)
    log.close()
    store.alter(fact, "payload", fact.payload.replace(b'"version":6', b'"version":5'))
    assert ("system", 1, "digest") in named(store.open(mode="read").verify())


def test_a_seal_from_before_holds_and_one_of_another_past_does_not(log: EventLog, tmp_path: Path) -> None:
    two(log)
    seal = log.seal()
    fill(log, "late", 1)
    prune(log, tmp_path, "a")
    prune(log, tmp_path, "b", to=8)
    assert log.verify(seal=seal).ok
    assert log.verify(seal=seal).streams == 3
    assert lacking(log, seal) == []
    assert log.verify(seal=log.seal()).ok
    other = Seal.of([("a", 10, "0" * 64)], as_of=seal.as_of)
    assert ("a", 10, "deleted") in named(log.verify(seal=other))


def test_what_the_archive_does_not_have_is_not_removed(log: EventLog) -> None:
    before = two(log)
    for to, end in ((6, "0" * 64), (11, "0" * 64), (5, before[-1].hash.hex())):
        with pytest.raises(LogError, match="Nothing was removed"):
            log.prune("a", to=to, hash_=end, archive="a.parquet", digest="0" * 64)
    assert list(log.read_all()) == before


def test_a_stream_that_forks_point_to_is_not_removed_and_they_are_named(log: EventLog, tmp_path: Path) -> None:
    two(log)
    fork(log, "a", 8, "c", then=1)
    fork(log, "c", 9, "d", then=1)
    before = list(log.read_all())
    for stream, child in (("a", "c"), ("c", "d")):
        for to in (8 if stream == "a" else 9, None):
            with pytest.raises(LogError, match=rf"{stream} was not removed: {child} began as its forks"):
                prune(log, tmp_path, stream, to=to)
    assert list(log.read_all()) == before
    for stream in ("d", "c", "a"):
        prune(log, tmp_path, stream)
    assert [head.stream for head in log.heads()] == ["b", "system"]
    assert log.verify().ok


def test_a_forks_own_prefix_is_removed_and_the_parent_set_free(log: EventLog, tmp_path: Path) -> None:
    two(log)
    fork(log, "a", 8, "c", then=5)
    prune(log, tmp_path, "c", to=10)
    with pytest.raises(EventsPruned):
        list(log.read("c"))
    prune(log, tmp_path, "a")
    assert log.verify().ok
    with pytest.raises(LogError, match=r"c@9 to c@10 were not put back: .*there is no such event"):
        import_archive(log, tmp_path / "c.parquet")
    import_archive(log, tmp_path / "a.parquet")
    import_archive(log, tmp_path / "c.parquet")
    assert len(list(log.read("c"))) == 14
    assert log.verify().ok


def test_what_was_removed_is_put_back_bit_for_bit_where_it_was(store: Store, tmp_path: Path) -> None:
    log = store.open()
    before = two(log)
    prune(log, tmp_path, "a", to=6)
    prune(log, tmp_path, "a", to=8)
    prune(log, tmp_path, "b")
    for stream in ("a", "b"):
        assert import_archive(log, tmp_path / f"{stream}.parquet").new == (8 if stream == "a" else 10)
        assert log.removed(stream) is None
    assert [event for event in log.read_all() if event.stream != "system"] == before
    assert [event.type for event in log.read("system")] == ["system.pruned"] * 3 + ["system.restored"] * 2
    for opened in (log, store.open(mode="read")):
        assert opened.verify().ok, str(opened.verify())
    assert import_archive(store.open(mode="read"), tmp_path / "a.parquet").new == 0


def test_what_was_put_back_can_be_removed_again(log: EventLog, tmp_path: Path) -> None:
    two(log)
    for _ in range(3):
        prune(log, tmp_path, "a", to=7)
        import_archive(log, tmp_path / "a.parquet")
    prune(log, tmp_path, "a")
    assert log.verify().ok
    assert log.head("a") is None


def test_a_part_is_put_back_at_a_time_and_the_log_is_whole_between(log: EventLog, tmp_path: Path) -> None:
    before = two(log)
    own = [event for event in before if event.stream == "a"]
    prune(log, tmp_path, "a", to=9)
    log.put_back(own[5:9], hash_=own[4].hash, epoch=3, archive="a.parquet")
    removed = log.removed("a")
    assert removed is not None
    assert removed.version == 5
    assert log.verify().ok
    assert list(log.read("a", after=5)) == own[5:]
    log.put_back(own[:5], hash_=GENESIS, epoch=0, archive="a.parquet")
    assert list(log.read("a")) == own
    assert log.verify().ok


SPOILED: dict[str, Callable[[list[Recorded]], list[Recorded]]] = {
    "not the last missing": lambda events: events[:-1],
    "a hole": lambda events: [*events[:2], *events[3:]],
    "altered": lambda events: [replace(events[0], cause="b@1"), *events[1:]],
    "elsewhere": lambda events: [*events[:-1], replace(events[-1], position=10_000)],
    "taken": lambda events: [replace(events[0], position=3), replace(events[1], position=4), *events[2:]],
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_other_events_are_not_put_back(
    log: EventLog, tmp_path: Path, spoil: Callable[[list[Recorded]], list[Recorded]]
) -> None:
    own = [event for event in two(log) if event.stream == "a"]
    prune(log, tmp_path, "a", to=6)
    before = list(log.read_all())
    with pytest.raises(LogError, match="Nothing was changed"):
        log.put_back(spoil(own[:6]), hash_=GENESIS, epoch=0, archive="a.parquet")
    assert list(log.read_all()) == before
    with pytest.raises(LogError, match="nothing of it was removed"):
        log.put_back([event for event in before if event.stream == "b"], hash_=GENESIS, epoch=0, archive="b.parquet")


def test_a_log_with_removed_beginnings_is_exported_and_imported(store: Store, tmp_path: Path) -> None:
    source = open_log(tmp_path / "source.db")
    two(source)
    seal = source.seal()
    prune(source, tmp_path, "a", to=6)
    prune(source, tmp_path, "b")
    lines = exported(source)
    log = store.open()
    import_lines(log, lines)
    assert log.verify().ok
    assert import_lines(log, lines).new == 0
    assert lacking(log, seal) == []
    for stream in ("a", "b"):
        removed, gone = log.removed(stream), source.removed(stream)
        assert removed is not None
        assert gone is not None
        assert removed.head == gone.head
    with pytest.raises(EventsPruned):
        next(log.read("a"))
    source.close()


def test_lines_of_a_stream_that_was_removed_are_refused_with_the_way_back(log: EventLog, tmp_path: Path) -> None:
    lines = list(export_lines(two(log)))
    prune(log, tmp_path, "a")
    with pytest.raises(ImportRefused, match=r"aether log import a\.parquet"):
        import_lines(log, lines)


def test_an_archive_is_imported_into_another_log(store: Store, tmp_path: Path) -> None:
    source = open_log(tmp_path / "source.db")
    own = [event for event in two(source) if event.stream == "a"]
    prune(source, tmp_path, "a")
    source.close()
    log = store.open()
    assert import_archive(log, tmp_path / "a.parquet").new == 10
    assert [(event.hash, event.content) for event in log.read("a")] == [(event.hash, event.content) for event in own]
    assert import_archive(log, tmp_path / "a.parquet").stood == 10
    assert log.verify().ok


def test_a_log_opened_for_reading_removes_nothing(store: Store) -> None:
    store.open().close()
    log = store.open(mode="read")
    with pytest.raises(LogUnwritable):
        log.prune("a", to=1, hash_="0" * 64, archive="a.parquet", digest="0" * 64)
    with pytest.raises(LogUnwritable):
        log.put_back([], hash_=GENESIS, epoch=0, archive="a.parquet")
