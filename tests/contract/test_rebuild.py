"""What rebuilding a log from its records promises."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData

from telemetry.errors import ImportRefused
from telemetry.events import Draft, Recorded
from telemetry.events.envelope import chain_hash
from telemetry.events.registry import CLASSES
from telemetry.log import EventLog, open_log
from telemetry.log.export import export_lines, export_whole
from telemetry.log.imports import import_archive, import_lines, lacking
from telemetry.log.retention.archive import name_of
from telemetry.otel import names
from telemetry.otel.files import OtlpFile, logs_line
from telemetry.otel.rebuild import rebuild
from telemetry.otel.record import Detail, LogRecord, record_of
from tests.contract.stores import Store, fill, note, notes
from tests.contract.test_fork import fork
from tests.contract.test_prune import prune
from tests.contract.test_read import FromTheFuture


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EventLog]:
    """A log with whatever a log can hold: streams by turns, forks of forks, contents beside the rows, a stream that was
    taken over, an event of a later version."""
    log = open_log(tmp_path / "source.db")
    for number in range(4):
        for stream in ("session/a", "session/b"):
            drafts = [note(f"{number} é", command=f"{number}"), note("x", command=f"{number}", ordinal=1)]
            epoch = 1 + (stream == "session/b") * (number // 2)
            log.append(stream, drafts, expected_version=2 * number, epoch=epoch)
    fork(log, "session/a", 5, "session/c", then=2)
    fork(log, "session/c", 7, "session/d", then=1)
    fork(log, "session/c", 4, "session/e", then=1)
    log.append("session/c", [note("x" * 50_000, command="big")], expected_version=8, epoch=1)
    with monkeypatch.context() as later:
        later.setitem(CLASSES, "learn.dreamt", FromTheFuture)
        draft = Draft(event=FromTheFuture(dream="ein Schäf"), command="dream", cause="session/a@8", refs=("model/m@1",))
        log.append("session/a", [draft], expected_version=8, epoch=1)
    fill(log, "model/maze", 3)
    yield log
    log.close()


def records(log: EventLog, detail: Detail = "stored") -> list[LogRecord]:
    return [record_of(event, detail=detail) for event in log.read_all()]


def write(path: Path, log: EventLog, given: Sequence[LogRecord], *, each: int = 7) -> Path:
    """Some lines a file, as an exporter writes them."""
    with OtlpFile(path) as file:
        for begin in range(0, len(given), each):
            file.append(logs_line(given[begin : begin + each], resource={names.LOG_ID: log.id}))
    return path


def exported(log: EventLog) -> list[bytes]:
    """Every event without its position, in the order of streams and versions."""
    events = sorted(log.read_all(), key=lambda event: (event.stream, event.version))
    return list(export_lines(replace(event, position=0) for event in events))


def test_a_log_rebuilt_from_what_was_stored_is_the_same(store: Store, tmp_path: Path, source: EventLog) -> None:
    log = store.open()
    done = rebuild(log, [write(tmp_path / "logs.jsonl", source, records(source))])
    assert done.whole
    assert (done.records, done.repeats, done.imported.new, done.imported.streams) == (28, 0, 28, 6)
    assert list(export_lines(log.read_all())) == list(export_lines(source.read_all())), "positions too"
    assert log.seal() == source.seal()
    assert log.verify().ok
    assert not done.withheld.events


def test_a_log_rebuilt_from_digests_has_the_same_heads_and_names_what_was_withheld(
    store: Store, tmp_path: Path, source: EventLog
) -> None:
    log = store.open()
    done = rebuild(log, [write(tmp_path / "logs.jsonl", source, records(source, "digest"))])
    assert done.whole
    assert log.seal() == source.seal()
    report = log.verify(seal=source.seal())
    assert report.ok
    assert done.withheld.events == 28 - 3, "all but where the forks were cut"
    assert set(report.withheld) == set(done.withheld)
    assert "session/c@7–9" in [str(stretch) for stretch in done.withheld]


@pytest.mark.parametrize("seed", range(5))
def test_order_repeats_and_files_do_not_matter(store: Store, tmp_path: Path, source: EventLog, seed: int) -> None:
    chance = random.Random(seed)
    given = records(source) + records(source, "digest") + chance.sample(records(source), 10)
    chance.shuffle(given)
    folder = tmp_path / "records"
    for number in range(3):
        write(folder / f"{number}" / "logs.jsonl", source, given[number::3], each=1 + seed)
    log = store.open()
    done = rebuild(log, [folder])
    assert done.whole
    assert (done.records, done.repeats) == (28, 38)
    assert not done.withheld.events, "of every event some copy had its payload"
    assert list(export_lines(log.read_all())) == list(export_lines(source.read_all()))


def as_protobuf(line: bytes) -> bytes:
    """The same request, made by protobuf's own reader."""
    from tests.unit.test_otel_files import parsed

    serialised: bytes = parsed(line, LogsData()).SerializeToString()
    return serialised


def framed(lines: bytes) -> bytes:
    messages = [as_protobuf(line) for line in lines.splitlines()]
    return b"".join(len(message).to_bytes(4, "big") + message for message in messages)


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "gzip in parts": lambda lines: b"".join(gzip.compress(line) for line in lines.splitlines(keepends=True)),
    "protobuf": as_protobuf,
    "protobuf in gzip": lambda lines: gzip.compress(as_protobuf(lines)),
    "protobuf behind lengths": framed,
    "one document": lambda lines: orjson.dumps(orjson.loads(lines), option=orjson.OPT_INDENT_2),
    "with blank lines": lambda lines: b"\n" + lines.replace(b"\n", b"\n\n"),
    "with a byte order mark": lambda lines: b"\xef\xbb\xbf" + lines,
    "after other signals": lambda lines: b'{"resourceSpans":[]}\n{}\n' + lines,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_otlp_is_read(log: EventLog, tmp_path: Path, source: EventLog, form: str) -> None:
    several = form in ("gzip in parts", "protobuf behind lengths")
    path = write(tmp_path / "logs.jsonl", source, records(source), each=7 if several else 1_000)
    path.write_bytes(FORMS[form](path.read_bytes()))
    assert rebuild(log, [path]).whole
    assert log.seal() == source.seal()


def without(given: list[LogRecord], log: EventLog, *ids: str) -> list[LogRecord]:
    """The records without those of these events."""
    return [record for record, event in zip(given, log.read_all(), strict=True) if event.id not in ids]


def test_what_is_missing_is_named_and_what_stands_behind_it_is_held_back(
    store: Store, tmp_path: Path, source: EventLog
) -> None:
    given = without(records(source), source, "session/b@5", "session/b@6", "model/maze@1")
    log = store.open()
    done = rebuild(log, [write(tmp_path / "logs.jsonl", source, given)])
    assert not done.whole
    assert [str(stretch) for stretch in done.missing] == ["model/maze@1", "session/b@5–6"]
    assert [str(stretch) for stretch in done.held] == ["model/maze@2–3", "session/b@3–4", "session/b@7–8"]
    assert (done.unnamed, done.gaps) == (0, [])
    assert log.verify().ok
    assert [event.id for event in log.read("session/b")] == ["session/b@1", "session/b@2"]
    again = rebuild(log, [write(tmp_path / "all.jsonl", source, records(source))])
    assert again.whole
    assert (again.imported.new, again.imported.stood) == (9, 19)
    assert exported(log) == exported(source)


def test_a_lost_end_is_noticed_by_the_positions_and_named_by_a_seal(
    store: Store, tmp_path: Path, source: EventLog
) -> None:
    given = without(records(source), source, "session/a@9")
    log = store.open()
    done = rebuild(log, [write(tmp_path / "logs.jsonl", source, given)])
    assert not done.whole
    assert (done.unnamed, [str(gap) for gap in done.gaps]) == (1, ["25"])
    assert [words.partition(" ")[0] for words in lacking(log, source.seal())] == ["session/a@9"]


def test_a_fork_waits_for_its_parent(store: Store, tmp_path: Path, source: EventLog) -> None:
    given = without(records(source), source, "session/a@6")
    log = store.open()
    done = rebuild(log, [write(tmp_path / "logs.jsonl", source, given)])
    assert [str(stretch) for stretch in done.missing] == ["session/a@6"]
    held = {stretch.stream for stretch in done.held}
    assert held == {"session/a", "session/c", "session/d", "session/e"}, "e was cut before it, but from c"
    parents = [event for event in source.read_all() if event.stream == "session/a"]
    rebuild(log, [write(tmp_path / "a.jsonl", source, [record_of(e, detail="stored") for e in parents])])
    assert len(lacking(log, source.seal())) == 3, "its forks are still to be given again"
    assert rebuild(log, [tmp_path / "logs.jsonl"]).whole
    assert exported(log) == exported(source)


def test_the_end_of_a_parent_that_only_its_fork_knows_of_is_named(
    store: Store, tmp_path: Path, source: EventLog
) -> None:
    forks = [event for event in source.read_all() if event.stream in ("session/c", "session/d")]
    log = store.open()
    done = rebuild(log, [write(tmp_path / "c.jsonl", source, [record_of(e, detail="stored") for e in forks])])
    assert [str(stretch) for stretch in done.missing] == ["session/a@1–5"]
    assert log.position() == 0


def altered(record: LogRecord, place: int, cell: object) -> LogRecord:
    cells = orjson.loads(record.attributes[names.RECORD])
    cells[place] = cell
    return replace(record, attributes={**record.attributes, names.RECORD: orjson.dumps(cells).decode()})


def test_an_altered_record_is_told_and_an_intact_copy_is_taken(log: EventLog, tmp_path: Path, source: EventLog) -> None:
    given = records(source)
    forged = [altered(given[4], 3, "forged"), replace(given[6], body='{"retry_of":"session/a@1","why":"forged"}')]
    alone = [*given[:4], forged[0], given[5], forged[1], *given[7:]]
    done = rebuild(log, [write(tmp_path / "alone.jsonl", source, alone, each=1)])
    assert [str(stretch) for stretch in done.missing] == ["session/a@3", "session/b@3"] or not done.whole
    first, second = sorted(done.faults, key=lambda fault: "follow" in fault)
    assert first.startswith("alone.jsonl, line 7: event session/b@3 was altered: its payload has the digest")
    assert second.startswith("alone.jsonl, line 5: event session/a@3 with hash")
    done = rebuild(log, [write(tmp_path / "both.jsonl", source, [*forged, *given], each=1)])
    assert done.whole
    assert done.faulty == 2
    assert exported(log) == exported(source)


def test_two_histories_of_a_stream_are_told_and_neither_is_taken(
    store: Store, tmp_path: Path, source: EventLog
) -> None:
    event = next(source.read("session/b", after=2, to=3))
    header = replace(event, command="another").header()
    other = replace(event, command="another", hash=chain_hash(_hash_before(source, event), header, event.digest))
    given = [*records(source), record_of(other, detail="stored")]
    log = store.open()
    done = rebuild(log, [write(tmp_path / "logs.jsonl", source, given)])
    assert not done.whole
    assert "two histories of session/b part at version 3" in done.faults[0]
    assert [str(stretch) for stretch in done.held] == ["session/b@1–8"], "the command before it may have gone on"
    assert not done.missing.events
    assert log.verify().ok


def _hash_before(log: EventLog, event: Recorded) -> bytes:
    return next(log.read(event.stream, after=event.version - 2, to=event.version - 1)).hash


def test_a_log_with_another_history_is_left_as_it_is(log: EventLog, tmp_path: Path, source: EventLog) -> None:
    log.append("session/b", notes(2, command="mine"), expected_version=0, epoch=1)
    mine = list(log.read("session/b"))
    with pytest.raises(ImportRefused, match="event session/b@1 is another than the one that stands in"):
        rebuild(log, [write(tmp_path / "logs.jsonl", source, records(source))])
    assert list(log.read("session/b")) == mine
    assert log.verify().ok


def test_a_log_is_rebuilt_in_pieces_that_begin_where_it_ends(log: EventLog, tmp_path: Path, source: EventLog) -> None:
    given = records(source)
    pieces = [write(tmp_path / f"{n}.jsonl", source, given[begin:end]) for n, (begin, end) in enumerate(CUTS)]
    for number, piece in enumerate(pieces):
        done = rebuild(log, [piece])
        assert done.whole, number
    assert log.seal() == source.seal()


CUTS = [(0, 8), (8, 16), (16, 19), (4, 22), (22, 28)]
"""At the ends of commands, one of them over what stands already."""


def test_payloads_that_come_later_are_put_where_they_belong(store: Store, tmp_path: Path, source: EventLog) -> None:
    log = store.open()
    rebuild(log, [write(tmp_path / "digests.jsonl", source, records(source, "digest"))])
    some = [record for record in records(source) if record.attributes.get("gen_ai.conversation.id") == "c"]
    done = rebuild(log, [write(tmp_path / "c.jsonl", source, some)])
    assert (done.imported.new, done.imported.stood, done.imported.disclosed) == (0, 4, 3)
    assert [event.id for event in log.read_all() if event.encoding != "withheld" and event.stream == "session/c"] == [
        f"session/c@{version}" for version in range(6, 10)
    ]
    assert log.verify().ok
    assert import_lines(log, export_lines(source.read_all())).disclosed == 22
    assert list(export_lines(log.read_all())) == list(export_lines(source.read_all()))
    assert not log.verify().withheld


def test_a_pruned_past_is_not_brought_back(store: Store, tmp_path: Path, source: EventLog) -> None:
    past = write(tmp_path / "records" / "past.jsonl", source, records(source))
    prune(source, tmp_path, "session/b", to=4)
    prune(source, tmp_path, "session/d")
    write(tmp_path / "records" / "since.jsonl", source, records(source)[-2:])
    log = store.open()
    done = rebuild(log, [past.parent])
    assert done.whole
    assert done.archived == 4 + 2
    assert log.seal().heads == source.seal().heads
    assert exported(log) == exported(source)
    assert log.verify().ok
    since = store.open(mode="read")
    assert since.removed("session/b") == source.removed("session/b")


def test_records_of_a_log_whose_past_was_pruned_before_are_whole(
    store: Store, tmp_path: Path, source: EventLog
) -> None:
    prune(source, tmp_path, "session/b", to=4)
    kept: list[Recorded] = []
    export_whole(source, kept.append)
    log = store.open()
    path = write(tmp_path / "logs.jsonl", source, [record_of(event, detail="digest") for event in kept])
    done = rebuild(log, [path])
    assert (done.whole, done.unnamed) == (True, 0)
    assert log.seal().heads == source.seal().heads
    without_one = [record_of(event, detail="stored") for event in kept if event.id != "session/a@9"]
    fresh = open_log(tmp_path / "fresh.db")
    done = rebuild(fresh, [write(tmp_path / "less.jsonl", source, without_one)])
    assert (done.whole, done.unnamed) == (False, 1)
    fresh.close()


def test_a_past_that_was_put_back_is_taken(store: Store, tmp_path: Path, source: EventLog) -> None:
    prune(source, tmp_path, "session/b", to=4)
    import_archive(source, tmp_path / name_of("session/b"))
    log = store.open()
    assert rebuild(log, [write(tmp_path / "logs.jsonl", source, records(source))]).whole
    assert exported(log) == exported(source)


def test_records_of_a_log_and_of_its_copy_are_one_history(store: Store, tmp_path: Path, source: EventLog) -> None:
    copy = open_log(tmp_path / "copy.db")
    fill(copy, "session/mine", 3)
    import_lines(copy, export_lines(source.read_all()))
    fork(copy, "session/a", 9, "session/f", then=1)
    folder = tmp_path / "records"
    write(folder / "copy.jsonl", copy, records(copy)[20:])
    write(folder / "source.jsonl", source, records(source))
    write(folder / "zero.jsonl", copy, records(copy)[:3])
    log = store.open()
    done = rebuild(log, [folder])
    assert not done.missing.events
    assert log.seal().heads == copy.seal().heads
    copy.close()


def test_positions_that_contradict_versions_are_not_gone_by(log: EventLog, tmp_path: Path, source: EventLog) -> None:
    """As when a collector took the log's id away from the records of a log and of its copy."""
    given = records(source)
    odd = [altered(record, 0, (5 * place) % len(given) + 1) for place, record in enumerate(given)]
    assert rebuild(log, [write(tmp_path / "logs.jsonl", source, odd)]).whole
    assert exported(log) == exported(source)


def test_what_is_broken_in_a_file_is_told_with_its_line_and_hides_nothing_else(
    log: EventLog, tmp_path: Path, source: EventLog
) -> None:
    path = write(tmp_path / "logs.jsonl", source, records(source), each=1)
    lines = path.read_bytes().splitlines(keepends=True)
    odd = [b"not json\n", b"[1]\n", b'{"resourceLogs":3}\n', b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[3]}]}]}\n']
    path.write_bytes(b"".join([*lines[:5], *odd, *lines[5:], lines[0][:100]]))
    done = rebuild(log, [path])
    assert [fault.partition(":")[0] for fault in done.faults] == [
        *(f"logs.jsonl, line {number}" for number in (6, 7, 8, 9)),
        "logs.jsonl, line 33, which is cut off",
    ]
    assert done.whole
    assert log.seal() == source.seal()


@pytest.mark.parametrize("form", ["gzip", "protobuf behind lengths"])
def test_a_file_that_is_cut_off_is_read_up_to_there(log: EventLog, tmp_path: Path, source: EventLog, form: str) -> None:
    path = write(tmp_path / "logs.jsonl", source, records(source), each=1)
    whole = FORMS[form](path.read_bytes())
    path.write_bytes(whole[:-20])
    done = rebuild(log, [path])
    assert "cut off" in done.faults[0]
    assert done.imported.new >= 20
    path.write_bytes(whole)
    assert rebuild(log, [path]).whole
    assert log.seal() == source.seal()


def test_records_of_others_are_passed_over(log: EventLog, tmp_path: Path, source: EventLog) -> None:
    others = [replace(record, attributes={"other": "x"}) for record in records(source)[:3]]
    done = rebuild(log, [write(tmp_path / "logs.jsonl", source, [*others, *records(source)])])
    assert (done.whole, done.others, done.faulty) == (True, 3, 0)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"\xff" * 100, b"PAR1", b"\x0aabc", b"\x00\x00\x00\x05abc", b"hello\n"]
)
def test_a_file_without_records_is_refused_and_nothing_is_imported(
    log: EventLog, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "odd.bin"
    path.write_bytes(content)
    with pytest.raises(ImportRefused, match=r"odd\.bin.*[Nn]othing"):
        rebuild(log, [path])
    assert log.position() == 0


def test_an_export_of_the_log_is_told_from_its_record(log: EventLog, tmp_path: Path, source: EventLog) -> None:
    path = tmp_path / "maze.jsonl"
    path.write_bytes(b"".join(export_lines(source.read_all())))
    with pytest.raises(ImportRefused, match="Try: aether log import"):
        rebuild(log, [path])


def test_a_folder_without_files_of_otlp_is_refused(log: EventLog, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImportRefused, match="holds no file of OTLP"):
        rebuild(log, [tmp_path / "empty"])
