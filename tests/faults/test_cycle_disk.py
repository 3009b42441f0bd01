"""A disk that takes no more: the session stops before the effect, says so, and goes on when there is room."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from telemetry.errors import LogUnwritable
from telemetry.log import open_log
from tests.disks import fill, small_disk
from tests.local import Local, story
from tests.worlds import ACTS, PROBES

ROOT = Path(__file__).parents[2]
SMALL = """
name = "small"
environment = { id = "gymnasium:AetherBad-v0", options = { mark = "disk" } }
memory = { recall = 0 }
"""
BIG = SMALL.replace("AetherBad", "AetherWordy")
"""Observations of 40 KB, which go to the content store beside the log."""
CYCLES = 8
ROOM_BYTES = 8 * 1024 * 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, ROOM_BYTES large."""
    with small_disk(tmp_path / "disk", size_bytes=ROOM_BYTES) as folder:
        yield folder


@pytest.fixture(autouse=True)
def _fresh_counts() -> Iterator[None]:
    ACTS.clear()
    yield
    PROBES.clear()


def committed_intents(path: Path) -> int:
    with closing(open_log(path, mode="read")) as reader:
        return sum(1 for _ in reader.read("session/full", types=["execute.intended"]))


@pytest.mark.parametrize("scenario", [SMALL, BIG], ids=["small events", "events above 32 KiB"])
def test_a_full_disk_stops_the_session_before_its_effect_and_room_lets_it_go_on(
    disk: Path, tmp_path: Path, scenario: str
) -> None:
    with closing(open_log(tmp_path / "log.db")) as log:
        whole = Local(log)
        expected = whole.run("whole", scenario, cycles=CYCLES)
        told = story(whole.events("whole"))
    ACTS.clear()
    path = disk / "log.db"
    stalls: list[str] = []
    PROBES["disk"] = lambda: fill(disk) if ACTS["disk"] == 3 else None

    def stall(error: LogUnwritable) -> None:
        stalls.append(str(error))
        assert ACTS["disk"] == committed_intents(path), "it acted on an intent that is not on disk"
        if len(stalls) == 3:
            (disk / "filler").unlink()

    with closing(open_log(path)) as log:
        local = Local(log)
        row = local.run("full", scenario, cycles=CYCLES, stall=stall)
        assert len(stalls) >= 3
        assert all("acknowledged events are intact" in said or "Nothing" in said for said in stalls), stalls
        assert row.state_hash == expected.state_hash
        assert story(local.events("full")) == told
        assert log.verify().ok
    assert ACTS["disk"] == told_acts(told)


def told_acts(told: list[tuple[str, dict[str, object]]]) -> int:
    return sum(kind == "execute.succeeded" for kind, _ in told)


@pytest.mark.parametrize("scenario", [SMALL, BIG], ids=["small events", "events above 32 KiB"])
def test_a_session_that_gave_up_on_a_full_disk_is_resumed_from_what_is_on_it(
    disk: Path, tmp_path: Path, scenario: str
) -> None:
    with closing(open_log(tmp_path / "log.db")) as log:
        expected = Local(log).run("whole", scenario, cycles=CYCLES)
        told = story(Local(log).events("whole"))
    ACTS.clear()
    PROBES["disk"] = lambda: fill(disk) if ACTS["disk"] == 3 else None
    with (
        closing(open_log(disk / "log.db")) as log,
        pytest.raises(LogUnwritable, match=r"Make room|cannot be|room"),
    ):
        Local(log).run("full", scenario, cycles=CYCLES)
    assert ACTS["disk"] == committed_intents(disk / "log.db")
    PROBES.clear()
    (disk / "filler").unlink()
    with closing(open_log(disk / "log.db")) as log:
        local = Local(log)
        assert local.run("full", scenario, cycles=CYCLES).state_hash == expected.state_hash
        assert story(local.events("full")) == told


def test_a_read_only_disk_stops_the_session_before_it_is_taken_up_and_nothing_is_done(disk: Path) -> None:
    path = disk / "log.db"
    turns = iter([False] * 3 + [True] * 9)
    with closing(open_log(path)) as log:
        expected = Local(log).run("whole", SMALL, cycles=CYCLES)
        Local(log).run("full", SMALL, cycles=CYCLES, stop=lambda: next(turns))
    ACTS.clear()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    with pytest.raises(LogUnwritable, match="Nothing was changed"):
        open_log(path)
    with closing(open_log(path, mode="read")) as log:
        assert log.verify().ok, "what is on it can still be read"
        with pytest.raises(LogUnwritable):
            Local(log).run("full", SMALL, cycles=CYCLES)
    assert not ACTS
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    with closing(open_log(path)) as log:
        assert Local(log).run("full", SMALL, cycles=CYCLES).state_hash == expected.state_hash


LIMITED = """
import resource, signal, sys
from pathlib import Path
from telemetry.errors import LogUnwritable
from telemetry.log import open_log
from tests.local import Local
from tests.worlds import ACTS, PROBES

log = open_log(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

def limit():
    if ACTS["disk"] == 3:
        wal = Path(sys.argv[1] + "-wal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (wal + 100, resource.RLIM_INFINITY))

PROBES["disk"] = limit

def stall(error):
    intents = sum(1 for _ in open_log(sys.argv[1], mode="read").read("session/full", types=["execute.intended"]))
    assert ACTS["disk"] == intents, (ACTS, intents)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print("stalled:", error)

print(Local(log).run("full", sys.argv[2], cycles=8, stall=stall).state_hash)
log.close()
"""


def test_a_file_that_may_not_grow_stops_the_session_before_its_effect_without_root(tmp_path: Path) -> None:
    with closing(open_log(tmp_path / "log.db")) as log:
        expected = Local(log).run("whole", SMALL, cycles=CYCLES)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "limited.db"), SMALL],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    *stalls, state_hash = done.stdout.splitlines()
    assert len(stalls) == 1
    assert "all acknowledged events are intact. Make room" in stalls[0]
    assert state_hash == expected.state_hash
