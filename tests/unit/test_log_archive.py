"""Archives: what is in the file is the stream, or the file is refused."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from telemetry.errors import ArchiveDamaged, EventsPruned, LogHeld, LogNotFound, StreamNotFound
from telemetry.events import Recorded
from telemetry.log import EventLog, open_log
from telemetry.log.retention import archive
from telemetry.log.retention.archive import ArchiveFile, name_of, read_archive, verify_archive, write_archive
from tests.contract.stores import fill, note
from tests.contract.test_fork import fork
from tests.contract.test_prune import prune

ROOT = Path(__file__).parents[2]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with closing(open_log(tmp_path / "log.db")) as log:
        fill(log, "session/ä", 5, each=4)
        log.append("session/ä", [note("x" * 50_000, command="big")], expected_version=20, epoch=7)
        yield log


def test_an_archive_holds_every_column_and_content_of_its_stream(log: EventLog, tmp_path: Path) -> None:
    fork(log, "session/ä", 9, "fork", then=3)
    for stream in ("session/ä", "fork"):
        own = [event for event in log.read_all() if event.stream == stream]
        archive, new = write_archive(log, stream, tmp_path / "to")
        assert new
        path = tmp_path / "to" / name_of(stream)
        with ArchiveFile(path) as file:
            assert list(file.events()) == own
            assert [event.content for event in file.events()] == [event.content for event in own]
        assert verify_archive(path) == archive
        assert (archive.first, archive.version, archive.hash) == (own[0].version, own[-1].version, own[-1].hash.hex())
        assert (archive.stream, archive.log) == (stream, log.id)
    assert sorted(file.name for file in (tmp_path / "to").iterdir()) == ["fork.parquet", "session%2F%C3%A4.parquet"]


def test_an_archive_that_was_begun_earlier_does_not_replace_a_later_one(
    log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, folder = log.read, tmp_path / "to"

    def stalled(stream: str, *, after: int, to: int) -> Iterator[Recorded]:
        monkeypatch.setattr(archive, "WAIT_S", 0.0)
        log.append(stream, [note("later")], expected_version=21, epoch=7)
        with pytest.raises(LogHeld, match=r"pid \d+ on .* has been archiving"):  # else it would be in place by now
            write_archive(log, stream, folder)
        monkeypatch.undo()
        return read(stream, after=after, to=to)

    monkeypatch.setattr(log, "read", stalled)
    assert write_archive(log, "session/ä", folder)[0].version == 21
    (folder / ".aside-of-one-that-was-killed.parquet").write_bytes(b"PAR1")
    assert write_archive(log, "session/ä", folder)[0].version == 22
    assert [file.name for file in folder.iterdir()] == [name_of("session/ä")]


def test_an_archive_that_is_there_is_verified_and_kept_and_an_older_one_replaced(log: EventLog, tmp_path: Path) -> None:
    archive, _ = write_archive(log, "session/ä", tmp_path)
    assert write_archive(log, "session/ä", tmp_path) == (archive, False)
    log.append("session/ä", [note(command="more")], expected_version=21, epoch=7)
    newer, new = write_archive(log, "session/ä", tmp_path)
    assert (new, newer.version) == (True, 22)
    assert verify_archive(tmp_path / name_of("session/ä")).version == 22


def test_a_stream_that_is_not_there_or_not_whole_is_not_archived(log: EventLog, tmp_path: Path) -> None:
    with pytest.raises(StreamNotFound):
        write_archive(log, "none", tmp_path)
    prune(log, tmp_path, "session/ä", to=9)
    with pytest.raises(EventsPruned):
        write_archive(log, "session/ä", tmp_path / "elsewhere")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_more_than_a_group_of_rows_is_written_and_read(tmp_path: Path) -> None:
    with closing(open_log(tmp_path / "log.db")) as log:
        own = fill(log, "a", 10, each=1_000)
        write_archive(log, "a", tmp_path)
    with ArchiveFile(tmp_path / "a.parquet") as file:
        assert file.groups == 3
        assert tuple(file.events()) == own


def test_the_name_of_a_long_stream_fits_a_folder_and_is_its_own() -> None:
    names = {name_of(f"session/{'ö' * 150}{number}") for number in range(10)}
    assert len(names) == 10
    assert all(len(name) < 200 for name in names)
    assert not any("/" in name for name in names)


@pytest.mark.parametrize("seed", range(40))
def test_an_altered_archive_is_refused_or_holds_the_same(log: EventLog, tmp_path: Path, seed: int) -> None:
    """A byte that carries nothing, such as a statistic, may differ; no event does."""
    own = [event for event in log.read_all() if event.stream == "session/ä"]
    write_archive(log, "session/ä", tmp_path)
    path = tmp_path / name_of("session/ä")
    rng, raw = random.Random(seed), bytearray(path.read_bytes())
    raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    path.write_bytes(raw if seed % 4 else raw[: rng.randrange(len(raw))])
    try:
        archive = verify_archive(path)
    except ArchiveDamaged:
        return
    with ArchiveFile(path) as file:
        assert list(file.events()) == own
    assert archive.hash == own[-1].hash.hex()


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pytest.raises(LogNotFound):
        read_archive(tmp_path / "none.parquet")
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": [1]}), path)
    for content in (path.read_bytes(), b"", b"PAR1"):
        path.write_bytes(content)
        with pytest.raises(ArchiveDamaged):
            read_archive(path)


def test_pyarrow_is_loaded_only_when_an_archive_is_read_or_written() -> None:
    modules = "sys, telemetry.log.retention.archive, telemetry.log.imports, runtime.cli"
    code = f"import {modules}; print('pyarrow' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
