"""Rows kept in Parquet: what stands there, who may write it, and what joining files leaves."""

from __future__ import annotations

import random
import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from telemetry.errors import InvalidEvent, TracesDamaged, TracesHeld, TracesRefused, TracesUnwritable
from telemetry.events import Draft, learn
from telemetry.log import EventLog, open_log
from telemetry.query.rows.catalogue import KINDS
from telemetry.query.rows.kinds import VERSION
from telemetry.query.traces import compact as joining
from telemetry.query.traces.compact import compact
from telemetry.query.traces.manifest import FOLDER, KEPT, path_of, read
from telemetry.query.traces.place import Elsewhere, Place, place_of
from telemetry.query.traces.writer import Traces
from tests.in_turns import fill_in_turns, fill_with_shapes, golden
from tests.kept_rows import assert_kept, kept, manifest_of


@pytest.fixture(params=["folder", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder, and an object store as fsspec has one without a server."""
    return f"memory://traces-{uuid4().hex}" if request.param == "memory" else str(tmp_path / "traces")


@pytest.fixture
def lived(log: EventLog) -> EventLog:
    fill_in_turns(log)
    fill_with_shapes(log)
    return log


@pytest.fixture
def begun(log: EventLog) -> EventLog:
    """A log of which `more` is to come."""
    fill_in_turns(log, ("refund",))
    return log


def more(log: EventLog) -> None:
    fill_in_turns(log, ("maze", "lava"))
    fill_with_shapes(log)


def write(log: EventLog, url: str | Path) -> None:
    with Traces(log, url) as traces:
        traces.drain(to=log.position())


def test_what_stands_there_are_the_rows_of_every_event(lived: EventLog, url: str) -> None:
    write(lived, url)
    assert assert_kept(place_of(url), lived) == lived.position()


def test_a_log_without_events_has_traces_without_rows(log: EventLog, url: str) -> None:
    write(log, url)
    assert assert_kept(place_of(url), log) == 0


def test_rows_are_added_in_pieces_and_files_that_stand_are_never_changed(log: EventLog, url: str) -> None:
    place, chance, stood = place_of(url), random.Random(3), dict[str, bytes]()
    left = list(golden("refund"))
    while left:
        some = chance.randint(1, 40)
        taken, left = left[:some], left[some:]
        log.restore(taken).result()
        write(log, url)
        assert_kept(place, log)
        for path, content in stood.items():
            assert place.read(path) == content
        stood = {file.path: place.read(file.path) for file in manifest_of(place).files}
    assert manifest_of(place).position == len(golden("refund"))


def test_a_writer_that_is_left_by_an_error_has_added_nothing(begun: EventLog, url: str) -> None:
    write(begun, url)
    before = manifest_of(place_of(url))
    more(begun)

    def fall() -> None:
        with Traces(begun, url) as traces:
            assert traces.step(wait_s=0)
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        fall()
    assert manifest_of(place_of(url)) == before
    write(begun, url)
    assert assert_kept(place_of(url), begun) == begun.position()


def test_no_path_names_a_person_or_a_session(lived: EventLog, tmp_path: Path) -> None:
    write(lived, tmp_path / "traces")
    files = [str(file.relative_to(tmp_path)) for file in (tmp_path / "traces").rglob("*")]
    paths = [re.sub(r"[0-9a-f]{12,}", "", file) for file in files]  # in hex any of these may come up
    assert len(paths) > len(KINDS)
    for name in ("ada", "dora", "refund", "maze", "lava"):
        assert not [path for path in paths if name in path.removeprefix("traces/").replace("lava", name)]


def test_one_persons_rows_of_a_day_are_in_one_bucket(lived: EventLog, url: str) -> None:
    place = place_of(url)
    write(lived, url)
    buckets: dict[str, set[str]] = {}
    for file in manifest_of(place).of("events"):
        for row in pq.read_table(_opened(place, file.path), columns=["subject"]).to_pylist():
            buckets.setdefault(str(row["subject"]), set()).add(file.partition)
    assert len(buckets["ada"]) == len(buckets["dora"]) == 1


def test_a_file_says_what_stands_in_it(lived: EventLog, url: str) -> None:
    place = place_of(url)
    write(lived, url)
    for file in manifest_of(place).files:
        rows = pq.read_table(_opened(place, file.path))
        assert (file.rows, file.bytes) == (rows.num_rows, len(place.read(file.path)))
        positions, streams = rows["position"].to_pylist(), rows["stream"].to_pylist()
        assert (file.first, file.last) == (min(positions), max(positions))
        assert (file.first_stream, file.last_stream) == (min(streams), max(streams))
        assert f"date={min(rows['recorded_at'].to_pylist()).date()}" in file.path
        assert pq.read_schema(_opened(place, file.path)).metadata[b"aetherloop.rows"] == str(VERSION).encode()


def test_a_manifest_names_the_files_that_a_question_needs(lived: EventLog, url: str) -> None:
    place = place_of(url)
    write(lived, url)
    manifest = manifest_of(place)
    assert manifest.of("actions", to=5) == []
    of_maze = {file.path for file in manifest.of("events", stream="session/maze")}
    for file in manifest.of("events"):
        held = "session/maze" in pq.read_table(_opened(place, file.path))["stream"].to_pylist()
        assert not held or file.path in of_maze


def test_others_read_the_files_by_their_names(lived: EventLog, tmp_path: Path) -> None:
    write(lived, tmp_path / "traces")
    pattern = f"{tmp_path}/traces/actions/**/*.parquet"
    found = duckdb.execute("SELECT count(*), min(date) FROM read_parquet(?, hive_partitioning = true)", [pattern])
    count, day = found.fetchall()[0]
    assert (count, str(day)) == (21, "2026-11-21")


# --- one writer ----------------------------------------------------------------------------------


def test_a_second_writer_of_a_folder_is_told_who_the_first_is(lived: EventLog, tmp_path: Path) -> None:
    with Traces(lived, tmp_path / "traces"), pytest.raises(TracesHeld, match=r"pid \d+ on .* writes the traces in"):
        Traces(lived, tmp_path / "traces").__enter__()
    write(lived, tmp_path / "traces")
    with Traces(lived, tmp_path / "traces"), pytest.raises(TracesHeld):
        compact(place_of(tmp_path / "traces"))


def test_where_no_lock_is_the_slower_of_two_writers_adds_nothing(lived: EventLog) -> None:
    url = f"memory://traces-{uuid4().hex}"
    slower = Traces(lived, url)
    slower.__enter__()
    slower.step(wait_s=0)
    write(lived, url)
    with pytest.raises(TracesHeld, match="was faster"):
        slower.__exit__(None, None, None)
    assert_kept(place_of(url), lived)
    write(lived, url)
    assert assert_kept(place_of(url), lived) == lived.position()


def test_traces_of_another_log_are_refused(lived: EventLog, url: str, tmp_path: Path) -> None:
    write(lived, url)
    with closing(open_log(tmp_path / "other.db")) as other:
        fill_in_turns(other)
        with pytest.raises(TracesRefused, match="of another log"):
            write(other, url)
    assert_kept(place_of(url), lived)


def test_traces_ahead_of_an_older_copy_of_the_log_are_refused(lived: EventLog, url: str, tmp_path: Path) -> None:
    write(lived, url)
    ahead = manifest_of(place_of(url)).model_copy(update={"number": 2, "position": lived.position() + 1})
    place_of(url).create(path_of(2), ahead.model_dump_json().encode())
    with pytest.raises(TracesRefused, match="another history"):
        write(lived, url)


def test_traces_that_followed_another_history_are_refused(lived: EventLog, url: str) -> None:
    write(lived, url)
    other = manifest_of(place_of(url)).model_copy(update={"number": 2, "hash": "0" * 64})
    place_of(url).create(path_of(2), other.model_dump_json().encode())
    with pytest.raises(TracesRefused, match="another event there"):
        write(lived, url)


def test_traces_of_another_version_are_refused(lived: EventLog, url: str) -> None:
    write(lived, url)
    later = manifest_of(place_of(url)).model_copy(update={"number": 2, "rows": VERSION + 1})
    place_of(url).create(path_of(2), later.model_dump_json().encode())
    with pytest.raises(TracesRefused, match=f"of version {VERSION + 1} and this one writes {VERSION}"):
        write(lived, url)


def test_a_manifest_that_is_none_is_told_and_left(lived: EventLog, tmp_path: Path) -> None:
    write(lived, tmp_path)
    broken = tmp_path / path_of(2)
    broken.write_bytes(b'{"number":')
    with pytest.raises(TracesDamaged, match=r"000002\.json is no manifest"):
        write(lived, tmp_path)
    assert broken.exists()


def test_a_scheme_that_nothing_reaches_and_a_folder_that_takes_no_file_are_told(log: EventLog, tmp_path: Path) -> None:
    with pytest.raises(TracesUnwritable, match="nothing here reaches nosuch://somewhere") as told:
        Traces(log, "nosuch://ada:secret@somewhere/x?key=secret")
    assert "secret" not in str(told.value)
    (tmp_path / "file").write_text("")
    with pytest.raises(TracesUnwritable, match="cannot be reached or written"):
        write(log, tmp_path / "file")


def test_a_disk_that_fills_up_leaves_what_stood(begun: EventLog, tmp_path: Path) -> None:
    write(begun, tmp_path)
    more(begun)
    before = manifest_of(place_of(tmp_path))
    (tmp_path / "events").rename(tmp_path / "kept")
    (tmp_path / "events").write_text("in the way")
    with pytest.raises(TracesUnwritable):
        write(begun, tmp_path)
    (tmp_path / "events").unlink()
    (tmp_path / "kept").rename(tmp_path / "events")
    assert manifest_of(place_of(tmp_path)) == before
    write(begun, tmp_path)
    assert assert_kept(place_of(tmp_path), begun) == begun.position()


# --- following -----------------------------------------------------------------------------------


def test_a_follower_commits_when_few_events_have_waited_long_enough(log: EventLog, url: str) -> None:
    with Traces(log, url, interval_s=0.0) as traces:
        assert not traces.step(wait_s=0)
        fill_in_turns(log, ("lava",))
        assert traces.step(wait_s=0)
        assert traces.position == log.position()
        assert_kept(place_of(url), log)


def test_a_follower_that_is_stopped_keeps_what_it_has_seen(log: EventLog, url: str) -> None:
    fill_in_turns(log, ("lava",))
    with Traces(log, url, interval_s=1e6) as traces:
        assert traces.step(wait_s=0)
        assert traces.position == 0
        traces.stop()
        traces.stop()
        assert not traces.step(wait_s=60)
    assert assert_kept(place_of(url), log) == log.position()


# --- joining -------------------------------------------------------------------------------------


@pytest.fixture
def scattered(log: EventLog, url: str) -> Place:
    """Traces in many small files."""
    for start in range(0, len(golden("refund")), 30):
        log.restore(golden("refund")[start : start + 30]).result()
        write(log, url)
    more(log)
    write(log, url)
    return place_of(url)


def test_joined_files_hold_the_same_rows(scattered: Place, log: EventLog) -> None:
    before = manifest_of(scattered)
    done = compact(scattered)
    after = manifest_of(scattered)
    assert done.before == len(before.files) > done.after == len(after.files)
    assert len(after.files) == len(after.partitions())
    assert after.position == before.position
    assert_kept(scattered, log)
    for files in after.partitions().values():
        for file in files:
            rows = pq.read_table(_opened(scattered, file.path), columns=["stream", "position"]).to_pylist()
            assert rows == sorted(rows, key=lambda row: (row["stream"], row["position"]))


def test_a_reader_of_an_older_manifest_finds_its_files(scattered: Place) -> None:
    before = manifest_of(scattered)
    compact(scattered)
    for file in before.files:
        assert len(scattered.read(file.path)) == file.bytes


def test_files_that_were_replaced_and_what_a_killed_writer_left_are_removed_in_time(
    scattered: Place, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    compact(scattered)
    left = f"events/date=2026-11-21/bucket=00/000000000001-000000000002-{time.time_ns():016x}00000000.parquet"
    scattered.write([(left, b"half"), ("events/notes.txt", b"somebody's")])
    assert compact(scattered).removed == 0
    assert left in set(scattered.everything())
    monkeypatch.setattr(joining, "GRACE_S", 0.0)
    assert compact(scattered).removed > 1
    assert manifest_of(scattered).dropped == ()
    named = {file.path for file in manifest_of(scattered).files}
    assert {path for path in scattered.everything() if path.endswith(".parquet")} == named
    assert "events/notes.txt" in set(scattered.everything())
    assert_kept(scattered, log)


def test_many_small_files_are_joined_as_they_come(log: EventLog, url: str) -> None:
    for event in golden("maze")[:50]:
        log.restore([event]).result()
        write(log, url)
    place = place_of(url)
    assert max(len(files) for files in manifest_of(place).partitions().values()) <= 2 * joining.JOIN_AT
    assert_kept(place, log)
    assert len(place.names(FOLDER)) <= KEPT


def test_where_no_traces_are_there_is_nothing_to_join(url: str) -> None:
    assert read(place_of(url)) is None
    with pytest.raises(TracesRefused, match="there are no traces in"):
        compact(place_of(url))


def test_kinds_that_have_no_rows_have_no_files(log: EventLog, url: str) -> None:
    fill_in_turns(log, ("refund",))
    write(log, url)
    assert {file.kind for file in manifest_of(place_of(url)).files} == {
        kind for kind, rows in kept(place_of(url)).items() if rows.num_rows
    }


def _opened(place: Place, path: str) -> pa.BufferReader:
    return pa.BufferReader(place.read(path))


def test_a_damaged_event_is_told_and_no_row_beyond_the_cursor_is_kept(log: EventLog, url: str, tmp_path: Path) -> None:
    fill_in_turns(log, ("maze",))
    write(log, url)
    fill_in_turns(log, ("lava",))
    with closing(sqlite3.connect(tmp_path / "log.db")) as disk, disk:
        disk.execute("UPDATE events SET payload = ? WHERE position = ?", (b'{"digest":', 200))
    with Traces(log, url) as traces:
        with pytest.raises(InvalidEvent, match="Try: aether log verify"):
            traces.step(wait_s=0)
        traces.commit()
    assert assert_kept(place_of(url), log) == len(golden("maze"))


def test_large_payloads_become_tables_before_many_are_held(log: EventLog, url: str) -> None:
    reviewed = learn.SessionReviewed(figures={}, summary="x" * 9_000_000)
    drafts = [Draft(event=reviewed, command=f"review-{number}") for number in range(5)]
    log.append("session/long", drafts, expected_version=0, epoch=1)
    write(log, url)
    assert assert_kept(place_of(url), log) == 5


def test_a_file_url_is_a_folder(lived: EventLog, tmp_path: Path) -> None:
    write(lived, f"file://{tmp_path}/traces")
    assert assert_kept(place_of(tmp_path / "traces"), lived) == lived.position()
    assert place_of(f"file://{tmp_path}/traces").name == str(tmp_path / "traces")


def test_what_a_store_says_is_told_without_the_secrets_of_its_url(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_of("memory://ada:hush@somewhere/traces?key=hushed")
    assert isinstance(place, Elsewhere)

    def away(*_: object, **__: object) -> None:
        raise ConnectionError("no answer from ada:hush@somewhere with key=hushed")

    monkeypatch.setattr(place.filesystem, "cat_file", away)
    with pytest.raises(TracesUnwritable, match="cannot be reached") as told:
        place.read("manifest/1.json")
    assert "hush" not in str(told.value)
    assert told.value.__cause__ is None
