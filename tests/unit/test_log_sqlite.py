"""What only the SQLite store can get wrong: files, pages, a full disk, start-up."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import portalocker
import pytest

from telemetry.errors import LogDamaged, LogError, LogNotFound, LogUnwritable
from telemetry.log import EventLog, open_log, sqlite_path
from telemetry.log.rows import COLUMNS
from telemetry.log.schema import EventRow
from telemetry.log.sqlite.connect import Readers, open_at_rest, open_for_writing
from telemetry.log.sqlite.database import open_sqlite
from telemetry.log.sqlite.lock import WriterLock
from tests.contract.stores import fill, note, notes
from tests.contract.test_prune import prune, two

ROOT = Path(__file__).parents[2]
PAGE = 4096
OVERHEAD_BYTES = 450
"""The figure `bytes_per_event_overhead` of the benchmarks."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///logs/a.db", "logs/a.db"),
        ("sqlite:////var/a.db", "/var/a.db"),
        ("a.db", "a.db"),
        ("/var/a.db", "/var/a.db"),
        (Path("x") / "a.db", "x/a.db"),
    ],
)
def test_a_url_names_a_file(url: str | Path, path: str) -> None:
    assert sqlite_path(url) == Path(path)


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("postgresql+asyncpg://host/log", "driver"),
        ("mysql://host/log", "mysql"),
        ("sqlite://", "names no file"),
        ("", "names no file"),
    ],
)
def test_a_url_without_a_store_is_refused_in_words(url: str, word: str) -> None:
    with pytest.raises(LogError, match=word):
        open_log(url)


def test_importing_the_log_loads_no_store_and_no_models() -> None:
    code = "import sys, telemetry.log; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"sqlmodel", "sqlalchemy", "pydantic", "numpy", "portalocker", "psycopg"} & set(loaded.stdout.split())


def test_opening_a_log_that_exists_does_not_wait_for_sqlmodel(path: Path) -> None:
    open_log(path).close()
    code = f"import sys, telemetry.log as l; l.open_log({str(path)!r}).close(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "sqlmodel" not in loaded.stdout.split()


def test_the_table_has_the_columns_that_rows_are_written_in() -> None:
    assert tuple(column.name for column in EventRow.metadata.tables["events"].columns) == COLUMNS


def test_the_position_is_the_row_number(path: Path) -> None:
    with closing(open_log(path)) as log:
        fill(log, "a", 3)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT rowid FROM events WHERE position = 3").fetchall() == [(3,)]
        (ddl,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'events'").fetchone()
    assert "position INTEGER NOT NULL" in ddl


@pytest.mark.parametrize("events", [100, 5_000])
def test_an_event_costs_a_bounded_number_of_bytes_beside_its_payload(path: Path, events: int) -> None:
    open_log(path).close()
    empty = path.stat().st_size
    with closing(open_log(path)) as log:
        version = payloads = 0
        while version < events:
            drafts = notes(10, command=f"{version:012x}", text="x" * 100)
            kept = log.append("session/7f3a9c01d2e4", drafts, expected_version=version, epoch=1)
            payloads += sum(len(event.payload) for event in kept)
            version += len(kept)
    assert (path.stat().st_size - empty - payloads) / events <= OVERHEAD_BYTES


def test_commits_are_synced_before_they_are_acknowledged(path: Path) -> None:
    if not shutil.which("strace") or subprocess.run(["strace", "-qq", "true"], capture_output=True).returncode:
        pytest.skip("watching system calls needs strace and the right to trace")
    code = (
        "import os\nfrom telemetry.log import open_log\nfrom tests.contract.stores import note\n"
        f"log = open_log({str(path)!r})\nos.write(1, b'ready')\n"
        "log.append('a', [note()], expected_version=0, epoch=1)\nos.write(1, b'acknowledged')\nos._exit(0)"
    )
    trace = path.with_name("trace")
    command = ["strace", "-f", "-e", "trace=fsync,fdatasync,write", "-o", str(trace), sys.executable, "-c", code]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    text = trace.read_text()
    between = text[text.index('"ready"') : text.index('"acknowledged"')]
    assert "fdatasync(" in between or "fsync(" in between


def test_a_log_that_is_closed_is_one_file_and_no_owner(path: Path) -> None:
    with closing(open_log(path)) as log:
        fill(log, "a", 3)
    assert {file.name for file in path.parent.iterdir()} == {"log.db", "log.db.lock"}
    assert path.with_name("log.db.lock").read_text() == ""


def test_heads_leave_out_a_stream_that_is_removed_while_they_are_looked_up(path: Path) -> None:
    with closing(open_log(path)) as log, closing(open_sqlite(path, mode="read")) as reader:
        two(log)

        def between(statement: str) -> None:
            if "stream = 'a'" in statement and log.removed("a") is None:
                prune(log, path.parent, "a")

        with reader._database._readers.use() as connection:  # type: ignore[attr-defined]  # SQLite's own hook
            connection.set_trace_callback(between)
        assert [head.stream for head in reader.heads()] == ["b", "system"]


@pytest.mark.parametrize("content", [b"not a database, only text " * 400, b"\x00" * 8192])
@pytest.mark.parametrize("mode", ["read", "write"])
def test_a_file_that_is_no_log_is_refused_and_not_touched(path: Path, content: bytes, mode: str) -> None:
    path.write_bytes(content)
    with pytest.raises(LogDamaged, match="cannot be read as a log"):
        open_log(path, mode=mode)  # type: ignore[arg-type]  # one of the two literals
    assert path.read_bytes() == content


@pytest.mark.parametrize("mode", ["read", "write"])
def test_a_foreign_database_is_refused_and_not_touched(path: Path, mode: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(LogDamaged):
        open_log(path, mode=mode)  # type: ignore[arg-type]  # one of the two literals
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_log_only_for_a_writer(path: Path) -> None:
    path.touch()
    with pytest.raises(LogDamaged):
        open_log(path, mode="read")
    with closing(open_log(path)) as log:
        assert log.position() == 0


def test_a_log_that_is_being_made_is_not_taken_for_one_at_rest(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read as at rest is never looked at again, so its reader would see no event."""
    maker = WriterLock(path)
    path.touch()

    def made_meanwhile(log: Path) -> tuple[Readers, str]:
        connection, _ = open_for_writing(log, create=True)
        connection.close()
        return open_at_rest(log)

    monkeypatch.setattr("telemetry.log.sqlite.connect.open_at_rest", made_meanwhile)
    with pytest.raises(LogDamaged):
        open_log(path, mode="read")
    maker.release()


def test_who_looks_at_the_lock_for_long_keeps_no_writer_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_log(path).close()
    look = path.with_name("log.db.lock").open()
    portalocker.lock(look, portalocker.LockFlags.SHARED)
    monkeypatch.setattr("telemetry.log.sqlite.lock.GRACE_S", 0.0)
    with monkeypatch.context() as pause:
        pause.setattr("telemetry.log.sqlite.lock.time.sleep", lambda _: look.close())
        WriterLock(path).release()


def test_a_log_of_a_newer_format_is_refused_as_intact(path: Path) -> None:
    open_log(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE log SET format = 99")
    for mode in ("read", "write"):
        with pytest.raises(LogError, match="upgrade") as caught:
            open_log(path, mode=mode)
        assert not isinstance(caught.value, LogDamaged)


def test_the_folder_of_a_new_log_is_made(tmp_path: Path) -> None:
    open_log(tmp_path / "a" / "b" / "log.db").close()
    with pytest.raises(LogNotFound):
        open_log(tmp_path / "c" / "log.db", create=False)
    assert not (tmp_path / "c").exists()


# --- a disk that takes no more -------------------------------------------------------------------


@pytest.fixture
def small(path: Path) -> Iterator[tuple[EventLog, sqlite3.Connection]]:
    """A log, and the writer's own connection, on which SQLite itself can be told that the disk is full."""
    from telemetry.log.sqlite.database import SqliteDatabase
    from telemetry.log.sqlite.writer import SqliteCommitter
    from telemetry.log.stored import StoredLog

    database = SqliteDatabase(path, mode="write", create=True)
    assert database.writer is not None
    committer = database.writer._committer
    assert isinstance(committer, SqliteCommitter)
    log = StoredLog(database)
    yield log, committer._connection
    log.close()


def test_a_full_disk_refuses_the_whole_append_and_takes_it_when_there_is_room(
    small: tuple[EventLog, sqlite3.Connection],
) -> None:
    log, connection = small
    kept = fill(log, "a", 5)
    connection.execute("PRAGMA max_page_count = 1")  # SQLite takes the size that the file has by now
    drafts = notes(50, command="big", text="x" * 5_000)
    futures = [
        log.submit(stream, drafts, expected_version=version, epoch=1) for stream, version in (("a", 5), ("b", 0))
    ]
    for future in futures:
        with pytest.raises(LogUnwritable, match="full"):
            future.result()
    assert tuple(log.read_all()) == kept
    connection.execute("PRAGMA max_page_count = 1000000")
    assert log.append("a", drafts, expected_version=5, epoch=1)[-1].position == 55
    assert log.verify().ok


FILE_LIMIT = """
import resource, sys
from telemetry.errors import LogUnwritable
from telemetry.log import open_log
from tests.contract.stores import fill, notes
log = open_log(sys.argv[1])
fill(log, "a", 3)
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
try:
    log.append("a", notes(100, command="big", text="x" * 5_000), expected_version=3, epoch=1)
except LogUnwritable as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(log.append("a", notes(100, command="big", text="x" * 5_000), expected_version=3, epoch=1)[-1].id)
print(log.verify().ok)
"""


def test_a_write_that_the_system_refuses_keeps_nothing_and_the_writer_goes_on(path: Path) -> None:
    command = [sys.executable, "-c", FILE_LIMIT, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    refused, appended, intact = done.stdout.splitlines()
    assert "Nothing of this append to a was kept" in refused
    assert (appended, intact) == ("a@103", "True")


# --- a folder that takes no file -----------------------------------------------------------------

WITHOUT_RIGHTS = """
import os, sys
import telemetry.log.sqlite.database  # while its files may be read
from telemetry.errors import LogUnwritable
from telemetry.log import open_log
if os.geteuid() == 0:
    os.setuid(65534)
log = open_log(sys.argv[1], mode="read")
print(log.verify())
log.close()
try:
    open_log(sys.argv[1])
except LogUnwritable:
    print("refused")
"""


def test_a_closed_log_is_read_in_a_folder_that_takes_no_file() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.db"
        with closing(open_log(path)) as log:
            fill(log, "a", 3)
        path.with_name("log.db.lock").unlink()
        path.chmod(0o444)
        Path(folder).chmod(0o555)
        command = [sys.executable, "-c", WITHOUT_RIGHTS, str(path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        Path(folder).chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["3 events of 1 streams are intact up to position 3", "refused"]


# --- broken pages --------------------------------------------------------------------------------

STREAMS, VERSIONS = 5, 200


def marked(path: Path) -> dict[str, int]:
    """A closed log in which `stream@version` stands in each payload; where each lies in the file."""
    with closing(open_log(path)) as log:
        for version in range(VERSIONS):
            futures = [
                log.submit(
                    f"s{n}", [note(f"<s{n}@{version + 1}>", command=f"{version}")], expected_version=version, epoch=1
                )
                for n in range(STREAMS)
            ]
            assert all(future.result() for future in futures)
    raw = path.read_bytes()
    names = [f"s{n}@{version}" for n in range(STREAMS) for version in range(1, VERSIONS + 1)]
    return {name: raw.index(f"<{name}>".encode()) for name in names}


@pytest.mark.parametrize("victim", ["s0@1", "s2@100", "s4@200"])
@pytest.mark.parametrize("junk", [b"\xff", b"\x00"])
def test_a_broken_page_is_reported_with_the_last_good_version_of_each_stream(
    path: Path, victim: str, junk: bytes
) -> None:
    places = marked(path)
    page = places[victim] // PAGE
    lost = [name for name, offset in places.items() if offset // PAGE == page]
    with path.open("r+b") as file:
        file.seek(page * PAGE)
        file.write(junk * PAGE)
    with closing(open_log(path, mode="read")) as log:
        report = log.verify()
    assert "page" in {problem.what for problem in report.problems}
    assert "malformed" in str(report)
    first_lost = {f"s{n}": VERSIONS + 1 for n in range(STREAMS)}
    for name in lost:
        stream, _, version = name.partition("@")
        first_lost[stream] = min(first_lost[stream], int(version))
    assert report.intact == {stream: version - 1 for stream, version in first_lost.items()}
    assert report.events == STREAMS * VERSIONS - len(lost)


def test_a_broken_index_is_reported(path: Path) -> None:
    places = marked(path)
    pages = {offset // PAGE for offset in places.values()}
    raw = path.read_bytes()
    index = next(n for n in range(3, len(raw) // PAGE) if n not in pages and raw[n * PAGE] == 10)
    with path.open("r+b") as file:
        file.seek(index * PAGE)
        file.write(b"\xff" * PAGE)
    with closing(open_log(path, mode="read")) as log:
        report = log.verify()
    assert [problem.what for problem in report.problems] == ["page"]
    assert set(report.intact.values()) == {VERSIONS}


def test_a_truncated_file_is_reported_with_what_is_left(path: Path) -> None:
    marked(path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2 // PAGE * PAGE)
    with closing(open_log(path, mode="read")) as log:
        report = log.verify()
    assert not report.ok
    assert all(0 < version < VERSIONS for version in report.intact.values())


@pytest.mark.parametrize("column", ["type", "stream", "command"])
def test_text_that_is_no_utf_8_is_reported_at_its_event(path: Path, column: str) -> None:
    with closing(open_log(path)) as log:
        fill(log, "a", 3)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"UPDATE events SET {column} = CAST(x'ff00fe' AS TEXT) WHERE position = 2")
    with closing(open_log(path, mode="read")) as log:
        report = log.verify()
    first = report.problems[0]
    assert (first.position, first.what) == (2, "page" if column == "stream" else "unreadable")
    assert report.intact["a"] == 1


@pytest.mark.parametrize("column", ["payload", "digest", "hash"])
def test_a_column_of_another_kind_is_reported_at_its_event(path: Path, column: str) -> None:
    with closing(open_log(path)) as log:
        fill(log, "a", 3)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"UPDATE events SET {column} = 'text' WHERE position = 2")
    with closing(open_log(path, mode="read")) as log:
        (problem,) = log.verify().problems
    assert (problem.stream, problem.version) == ("a", 2)
