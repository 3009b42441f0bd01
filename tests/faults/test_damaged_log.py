"""A SQLite file that was torn, cut or overwritten: what is whole is told and carried elsewhere, and the original is
never touched."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from telemetry.errors import LogDamaged, LogHeld
from telemetry.events import Recorded
from telemetry.log import VerifyReport, open_log
from telemetry.log.export import export_lines
from telemetry.log.imports import import_lines
from telemetry.log.sqlite.rest import examined
from tests.contract.stores import note, notes
from tests.contract.test_fork import fork

PAGE = 4096
FILES = ("log.db", "log.db-wal", "log.db-shm")
Damage = Callable[[Path], None]


def write(path: Path) -> None:
    """Appends to a new log: two streams by turns, small payloads and such as fill pages, a fork, contents beside."""
    with closing(open_log(path)) as log:
        for number in range(40):
            for stream in ("a", "b"):
                drafts = notes(3, command=f"{number}", text="x" * (2_000 if number % 9 == 0 else 150))
                log.append(stream, drafts, expected_version=3 * number, epoch=1)
            if number == 20:
                log.append("big", [note("y" * 40_000)], expected_version=0, epoch=1)
                fork(log, "a", 30, "c", then=20)


@dataclass(frozen=True)
class Whole:
    """The log before it was damaged."""

    folder: Path
    events: dict[str, list[Recorded]]

    def copy(self, to: Path, damage: Damage) -> Path:
        shutil.copytree(self.folder, to)
        damage(to / "log.db")
        return to / "log.db"


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """One file, as a writer that was closed leaves it."""
    folder = tmp_path_factory.mktemp("closed")
    write(folder / "log.db")
    return Whole(folder, whole(folder / "log.db"))


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A file, its WAL and its index, as a writer that was killed leaves them."""
    folder, live = tmp_path_factory.mktemp("killed") / "log", tmp_path_factory.mktemp("live")
    write(live / "log.db")
    with closing(open_log(live / "log.db")) as log:
        for number in range(20):
            log.append("w", notes(3, command=f"{number}", text="w" * 200), expected_version=3 * number, epoch=1)
        shutil.copytree(live, folder)
        (folder / "log.db.lock").unlink()
    return Whole(folder, whole(live / "log.db"))


def whole(path: Path) -> dict[str, list[Recorded]]:
    with closing(open_log(path, mode="read")) as log:
        events: dict[str, list[Recorded]] = {}
        for event in log.read_all():
            events.setdefault(event.stream, []).append(event)
        return events


def state(path: Path) -> dict[str, bytes | None]:
    files = (path.with_name(name) for name in FILES)
    return {file.name: file.read_bytes() if file.exists() else None for file in files}


def salvage(path: Path) -> tuple[VerifyReport, list[Recorded]]:
    """What a look at the damaged log tells and keeps; the log's files are the same afterwards."""
    kept: list[Recorded] = []
    before = state(path)
    try:
        with examined(path) as log:
            report = log.verify(each=kept.append)
    finally:
        assert state(path) == before
    return report, kept


def check(damaged: Path, was: Whole, *, cut: bool = False) -> VerifyReport:
    """The whole part of each stream is kept, nothing else is, and a log of it verifies. Whatever is not kept is told,
    by its stream's name where that can be read, unless the log was only `cut` at a commit."""
    report, kept = salvage(damaged)
    found = {stream: [event for event in kept if event.stream == stream] for stream in was.events}
    assert sum(map(len, found.values())) == len(kept)
    for stream, events in found.items():
        assert [e.hash for e in events] == [e.hash for e in was.events[stream][: len(events)]]
        if stream in report.intact:
            own = was.events[stream][0].version
            assert report.intact[stream] == events[-1].version if events else report.intact[stream] < own
        else:
            nameless = not events and any(problem.what == "page" for problem in report.problems)
            assert cut or nameless or len(events) == len(was.events[stream])
    elsewhere = damaged.with_name("elsewhere.db")
    with closing(open_log(elsewhere)) as log:
        import_lines(log, export_lines(kept))
        assert log.verify().ok
        assert [event.hash for event in log.read_all()] == [event.hash for event in kept]
    return report


def cut_to(size: int, file: str = "log.db") -> Damage:
    def damage(path: Path) -> None:
        with path.with_name(file).open("r+b") as opened:
            opened.truncate(size)

    return damage


def flip(seed: int, *, bytes_: int, file: str = "log.db") -> Damage:
    """Overwrites that many bytes, behind the file's own header."""

    def damage(path: Path) -> None:
        rng = random.Random(seed)
        raw = bytearray(path.with_name(file).read_bytes())
        for _ in range(bytes_):
            raw[rng.randrange(100, len(raw))] = rng.randrange(256)
        path.with_name(file).write_bytes(raw)

    return damage


def overwrite(seed: int, junk: bytes) -> Damage:
    """Fills a page behind the first with `junk`."""

    def damage(path: Path) -> None:
        pages = path.stat().st_size // PAGE
        with path.open("r+b") as opened:
            opened.seek(random.Random(seed).randrange(1, pages) * PAGE)
            opened.write((junk * PAGE)[:PAGE])

    return damage


@pytest.mark.parametrize("share", [0.03, 0.1, 0.33, 0.5, 0.71, 0.9, 0.99])
@pytest.mark.parametrize("on_a_page", [True, False])
def test_a_truncated_file_gives_what_is_whole(closed: Whole, tmp_path: Path, share: float, on_a_page: bool) -> None:
    size = int((closed.folder / "log.db").stat().st_size * share)
    report = check(closed.copy(tmp_path / "log", cut_to(size // PAGE * PAGE if on_a_page else size)), closed)
    assert not report.ok


@pytest.mark.parametrize("size", [0, 1, 50, 100, 1_000, 3_000])
def test_a_file_torn_to_less_than_a_page_is_refused_and_not_touched(closed: Whole, tmp_path: Path, size: int) -> None:
    damaged = closed.copy(tmp_path / "log", cut_to(size))
    with pytest.raises(LogDamaged, match="It was not touched"):
        salvage(damaged)


def test_a_file_of_which_only_the_tables_names_are_left_has_nothing_whole(closed: Whole, tmp_path: Path) -> None:
    assert not check(closed.copy(tmp_path / "log", cut_to(PAGE)), closed).ok


@pytest.mark.parametrize("seed", range(25))
def test_flipped_bytes_cost_no_more_than_the_streams_they_lie_in(closed: Whole, tmp_path: Path, seed: int) -> None:
    check(closed.copy(tmp_path / "log", flip(seed, bytes_=1 + seed % 6)), closed)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("junk", [b"\x00", b"\xff", b"\x0d\x00\x00\x00\x05"])
def test_an_overwritten_page_costs_no_more_than_what_lay_on_it(
    closed: Whole, tmp_path: Path, seed: int, junk: bytes
) -> None:
    assert not check(closed.copy(tmp_path / "log", overwrite(seed, junk)), closed).ok


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.5, 0.77, 0.999, 1.0])
def test_a_cut_wal_gives_what_was_committed_before_the_cut(killed: Whole, tmp_path: Path, share: float) -> None:
    size = int((killed.folder / "log.db-wal").stat().st_size * share)
    assert check(killed.copy(tmp_path / "log", cut_to(size, "log.db-wal")), killed, cut=True).ok


@pytest.mark.parametrize("seed", range(6))
def test_a_wal_with_flipped_bytes_gives_what_was_committed_before_them(
    killed: Whole, tmp_path: Path, seed: int
) -> None:
    damaged = killed.copy(tmp_path / "log", flip(seed, bytes_=3, file="log.db-wal"))
    assert check(damaged, killed, cut=True).ok


def test_lost_content_costs_nothing_but_itself(closed: Whole, tmp_path: Path) -> None:
    damaged = closed.copy(tmp_path / "log", lambda path: shutil.rmtree(path.with_name("log.db.blobs")))
    report, kept = salvage(damaged)
    assert [(problem.stream, problem.what) for problem in report.problems] == [("big", "blob")]
    assert len(kept) == sum(map(len, closed.events.values()))


def test_a_log_that_is_written_while_it_is_read_as_at_rest_is_told(closed: Whole, tmp_path: Path) -> None:
    path = closed.copy(tmp_path / "log", lambda _: None)

    def look() -> None:
        with examined(path) as log, closing(open_log(path)) as writer:
            writer.append("new", [note()], expected_version=0, epoch=1)
            log.verify()

    with pytest.raises(LogHeld, match="Run it again"):
        look()


def test_a_log_with_a_live_writer_is_examined_beside_it(closed: Whole, tmp_path: Path) -> None:
    path = closed.copy(tmp_path / "log", lambda _: None)
    with closing(open_log(path)) as writer:
        writer.append("new", [note()], expected_version=0, epoch=1)
        with examined(path) as log:
            assert log.verify().ok
            assert log.head("new") is not None
            writer.append("new", [note(command="d")], expected_version=1, epoch=1)
