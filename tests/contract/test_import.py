"""What carrying events from one log into another promises."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from telemetry.errors import (
    FencedWriter,
    IdempotencyConflict,
    ImportRefused,
    InvalidEvent,
    LogError,
    LogUnwritable,
    UnknownCriticalEvent,
    WrongExpectedVersion,
)
from telemetry.events import Draft, Event, Recorded, Unknown, privacy
from telemetry.events.registry import CLASSES
from telemetry.log import EventLog, open_log
from telemetry.log.export import event_of, export_lines
from telemetry.log.imports import import_lines, lacking, lines_of
from tests.contract.stores import Store, fill, note, notes
from tests.contract.test_fork import fork
from tests.contract.test_read import FromTheFuture


@pytest.fixture
def lines(tmp_path: Path) -> list[bytes]:
    """An exported log: three streams by turns, one of them a fork, another taken over, contents in and beside rows."""
    log = open_log(tmp_path / "source.db")
    for number in range(4):
        for stream in ("a", "b"):
            drafts = [note(f"{stream} {number} é", command=f"{number}"), note("x", command=f"{number}", ordinal=1)]
            log.append(stream, drafts, expected_version=2 * number, epoch=1 + (stream == "b") * (number // 2))
    fork(log, "a", 5, "c", then=2)
    log.append("c", [note("x" * 50_000, command="big")], expected_version=8, epoch=1)
    log.append("a", [note("later", command="later")], expected_version=8, epoch=1)
    exported = list(export_lines(log.read_all()))
    log.close()
    return exported


def exported(log: EventLog) -> list[bytes]:
    return list(export_lines(log.read_all()))


def test_an_import_gives_the_same_events_at_the_same_positions_under_the_same_hashes(
    store: Store, lines: list[bytes]
) -> None:
    log = store.open()
    done = import_lines(log, lines)
    assert (done.new, done.stood, done.streams, done.without_content) == (len(lines), 0, 3, 0)
    assert exported(log) == lines
    assert log.verify().ok
    assert [event.id for event in log.read("c")][:6] == ["a@1", "a@2", "a@3", "a@4", "a@5", "c@6"]
    again = store.open(mode="read")
    assert exported(again) == lines


def test_the_same_import_again_adds_nothing_and_says_so(log: EventLog, lines: list[bytes]) -> None:
    import_lines(log, lines)
    done = import_lines(log, lines)
    assert (done.new, done.stood) == (0, len(lines))
    assert "nothing new" in str(done)
    assert exported(log) == lines


@pytest.mark.parametrize("cut", range(1, 20, 3))
def test_an_import_goes_on_where_another_ended(log: EventLog, lines: list[bytes], cut: int) -> None:
    import_lines(log, lines[:cut])
    done = import_lines(log, lines)
    assert (done.new, done.stood) == (len(lines) - cut, cut)
    assert exported(log) == lines


def test_lines_of_a_stream_may_begin_where_the_log_ends(log: EventLog, lines: list[bytes]) -> None:
    import_lines(log, lines[:7])
    import_lines(log, lines[7:])
    assert exported(log) == lines


def test_events_go_behind_those_of_other_streams_and_keep_all_but_their_positions(
    log: EventLog, lines: list[bytes]
) -> None:
    fill(log, "mine", 3)
    import_lines(log, lines)
    carried = [event for event in log.read_all() if event.stream != "mine"]
    assert [event.position for event in carried] == list(range(4, len(lines) + 4))
    for event, line in zip(carried, lines, strict=True):
        given = event_of(line)
        assert (event.hash, event.header(), event.payload) == (given.hash, given.header(), given.payload)
        assert event.content == given.content
    assert log.verify().ok


def test_a_log_goes_on_after_an_import_with_its_fences(log: EventLog, lines: list[bytes]) -> None:
    import_lines(log, lines)
    with pytest.raises(FencedWriter):
        log.append("b", [note(command="late")], expected_version=8, epoch=1)
    with pytest.raises(IdempotencyConflict):
        log.append("a", [note("other", command="0")], expected_version=9, epoch=1)
    assert log.append("b", [note(command="on")], expected_version=8, epoch=2)[0].id == "b@9"
    assert log.verify().ok


def test_a_stream_that_went_another_way_is_left_alone_and_the_first_other_event_named(
    log: EventLog, lines: list[bytes]
) -> None:
    import_lines(log, lines[:4])  # versions 1 and 2 of a and b
    log.append("a", notes(3, command="mine"), expected_version=2, epoch=1)
    before = list(log.read("a"))
    with pytest.raises(ImportRefused, match=r"line 5: event a@3 is another than the one that stands") as caught:
        import_lines(log, lines)
    assert f"stands in {log.name}" in str(caught.value)
    assert "a was left as it is" in str(caught.value)
    assert list(log.read("a")) == before
    assert log.verify().ok


def test_a_stream_that_is_ahead_of_the_lines_stays_ahead(log: EventLog, lines: list[bytes]) -> None:
    import_lines(log, lines)
    log.append("a", notes(3, command="mine"), expected_version=9, epoch=1)
    assert import_lines(log, lines).new == 0
    assert len(list(log.read("a"))) == 12


def altered(line: bytes, **columns: object) -> bytes:
    return orjson.dumps({**orjson.loads(line), **columns}) + b"\n"


BREAKS: list[tuple[str, Callable[[bytes], bytes], str]] = [
    ("payload", lambda line: line.replace(b"\xc3\xa9", b"e"), "its payload has the digest"),
    ("command", lambda line: altered(line, command="forged"), "its hash is"),
    ("at", lambda line: altered(line, at=1), "its hash is"),
    ("version", lambda line: altered(line, version=99), "follows on version 2"),
    ("no line", lambda _: b"\n", "no line of an export"),
    ("half", lambda line: line[: len(line) // 2], "no line of an export"),
    ("list", lambda _: b"[1]\n", "no line of an export"),
    ("lacks", lambda line: orjson.dumps({"payload": "", "digest": "", "hash": ""}), "lacks or adds"),
    ("adds", lambda line: altered(line, more=1), "lacks or adds more"),
    ("kind", lambda line: altered(line, epoch="1"), "its epoch is '1'"),
    ("size", lambda line: altered(line, at=2**63), "its at is"),
    ("truth", lambda line: altered(line, cycle=True), "its cycle is True"),
    ("stream", lambda line: altered(line, stream="a b"), "no stream name"),
    ("hex", lambda line: altered(line, hash="xyz"), "no line of an export"),
]


@pytest.mark.parametrize(("break_", "words"), [pytest.param(*each[1:], id=each[0]) for each in BREAKS])
def test_a_bad_line_is_named_and_the_commands_before_it_are_imported(
    log: EventLog, lines: list[bytes], break_: Callable[[bytes], bytes], words: str
) -> None:
    broken = [*lines[:4], break_(lines[4]), *lines[5:]]
    with pytest.raises(ImportRefused, match=r"line 5: ") as caught:
        import_lines(log, broken)
    assert words in str(caught.value)
    assert "2 events of 1 streams imported" in str(caught.value)
    assert exported(log) == lines[:2], "whether b's command ended on line 4 only line 5 could say"
    assert import_lines(log, lines).new == len(lines) - 2


def test_content_that_is_not_what_its_event_names_is_refused(log: EventLog, lines: list[bytes]) -> None:
    at = next(number for number, line in enumerate(lines) if b"content_base64" in line)
    with pytest.raises(ImportRefused, match=rf"line {at + 1}: the content of event c@9 was altered"):
        import_lines(log, [*lines[:at], altered(lines[at], content_base64="eHg="), *lines[at + 1 :]])
    assert exported(log) == lines[: at - 2]
    import_lines(log, lines[:at])
    assert exported(log) == lines[:at], "at the end of the lines every command ends"


def test_content_that_the_source_had_lost_is_counted_and_put_back_by_a_later_import(
    log: EventLog, lines: list[bytes]
) -> None:
    line = next(line for line in lines if b"content_base64" in line)
    columns = orjson.loads(line)
    del columns["content_base64"]
    without = [orjson.dumps(columns) + b"\n" if each is line else each for each in lines]
    assert import_lines(log, without).without_content == 1
    assert not log.verify().ok
    assert import_lines(log, lines).new == 0
    assert log.verify().ok
    assert exported(log) == lines


def test_a_fork_whose_parent_is_missing_is_refused(log: EventLog, lines: list[bytes]) -> None:
    only = [line for line in lines if event_of(line).stream == "c"]
    with pytest.raises(ImportRefused, match="there is no such event"):
        import_lines(log, only)
    assert log.position() == 0


def test_a_stretch_without_its_beginning_is_refused(log: EventLog, lines: list[bytes]) -> None:
    with pytest.raises(ImportRefused, match="the first event of a is version 3, and the log has none before it"):
        import_lines(log, lines[4:])
    assert log.position() == 0


def test_what_a_later_version_wrote_is_carried_bit_for_bit(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Rotated(Event):
        type: str = "privacy.key_rotated"
        key: str

    class ErasedMore(privacy.SubjectErased):
        SCHEMA = 2
        reason: str

    events = [
        FromTheFuture(dream="ein Schäf"),
        Rotated(key="k"),
        ErasedMore(subject="dora", keys=(), reason="her word"),
    ]
    source = open_log(tmp_path / "source.db")
    with monkeypatch.context() as later:
        for event in events:
            later.setitem(CLASSES, event.type, type(event))
        drafts = [Draft(event=event, command="c", ordinal=ordinal) for ordinal, event in enumerate(events)]
        source.append("a", drafts, expected_version=0, epoch=1)
    given = exported(source)
    source.close()
    log = store.open()
    import_lines(log, given)
    assert exported(log) == given
    assert log.verify().ok
    dreamt, *critical = log.read("a")
    assert isinstance(dreamt.event, Unknown)
    for unread in critical:
        with pytest.raises(UnknownCriticalEvent):
            _ = unread.event


def test_a_payload_that_is_no_text_is_carried(log: EventLog, lines: list[bytes]) -> None:
    event = event_of(lines[0])
    raw = Recorded(**{**vars(event), "payload": b"\xff\x00"})
    (line,) = export_lines([raw])
    assert b"payload_base64" in line
    with pytest.raises(ImportRefused, match="its payload has the digest"):
        import_lines(log, [line])


def test_lines_are_read_one_at_a_time_from_a_file(log: EventLog, lines: list[bytes]) -> None:
    heard: list[int] = []
    import_lines(log, lines_of(io.BytesIO(b"".join(lines))), seen=heard.append)
    assert heard == [len(line) for line in lines]
    assert exported(log) == lines


def test_more_than_a_window_is_imported_and_no_command_is_torn(store: Store, tmp_path: Path) -> None:
    source = open_log(tmp_path / "source.db")
    fill(source, "a", 3, each=5_000)
    given = exported(source)
    source.close()
    log = store.open()
    with pytest.raises(ImportRefused, match="line 14000"):
        import_lines(log, [*given[:13_999], b"broken"])
    assert log.position() == 10_000
    assert import_lines(log, given).new == 5_000
    assert exported(log) == given


def test_a_seal_of_the_source_holds_for_what_was_imported(store: Store, tmp_path: Path, lines: list[bytes]) -> None:
    source = open_log(tmp_path / "source.db", mode="read")
    seal = source.seal()
    source.close()
    log = store.open()
    import_lines(log, lines[:-1])
    assert [missing.partition(" ")[0] for missing in lacking(log, seal)] == ["a@9"]
    import_lines(log, lines)
    assert lacking(log, seal) == []
    assert log.verify(seal=seal).ok


def test_restoring_takes_one_stretch_of_one_stream_whole_or_not_at_all(log: EventLog, lines: list[bytes]) -> None:
    events = [event_of(line) for line in lines]
    own = [event for event in events if event.stream == "a"]
    for wrong in ([], [own[0], own[2]], [own[0], events[2]]):
        with pytest.raises(InvalidEvent):
            log.restore(wrong)
    with pytest.raises(WrongExpectedVersion):
        log.restore(own[1:3]).result()
    forged = Recorded(**{**vars(own[1]), "hash": bytes(32)})
    with pytest.raises(LogError, match="one of them was altered"):
        log.restore([own[0], forged]).result()
    assert log.position() == 0
    first = log.restore(own[:3]).result()
    assert [event.hash for event in first] == [event.hash for event in own[:3]]
    assert log.restore(own[:3]).result() == first


def test_what_stands_with_another_envelope_is_not_taken_for_the_same(log: EventLog, lines: list[bytes]) -> None:
    own = event_of(lines[0])
    log.append("a", [Draft(event=own.event, command=own.command)], expected_version=0, epoch=1)  # type: ignore[arg-type]
    with pytest.raises(IdempotencyConflict, match="another envelope"):
        log.restore([own]).result()


def test_a_log_opened_for_reading_takes_no_import(store: Store, lines: list[bytes]) -> None:
    store.open().close()
    with pytest.raises(LogUnwritable):
        import_lines(store.open(mode="read"), lines)
