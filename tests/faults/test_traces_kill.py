"""SIGKILL to the process that keeps traces: whatever stands is the rows of exactly the events up to the cursor."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from telemetry.log import EventLog
from telemetry.query.traces.compact import compact
from telemetry.query.traces.manifest import read
from telemetry.query.traces.place import Place, place_of
from telemetry.query.traces.writer import Traces
from tests.aether import ROOT, end_with_parent, wait_until
from tests.in_turns import golden
from tests.kept_rows import assert_kept

KILLS = 8


@contextmanager
def keeper(log: EventLog, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = (sys.executable, "-m", "tests.kept_rows", log.url, str(folder))
    process = subprocess.Popen(command, env=env, cwd=ROOT, preexec_fn=end_with_parent)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_keeper_killed_again_and_again_loses_nothing_and_doubles_nothing(log: EventLog, tmp_path: Path) -> None:
    folder, chance = tmp_path / "traces", random.Random(5)
    place = place_of(folder)
    events = [event for name in ("refund", "maze", "lava") for event in golden(name)]
    share = len(events) // KILLS
    fell: list[int] = []

    def commits() -> int:
        manifest = read(place)
        return 0 if manifest is None else manifest.number

    for number in range(KILLS):
        begun = commits()
        mine = events[number * share : (number + 1) * share]
        with keeper(log, folder) as process:
            wait_until(lambda: (folder / ".lock").exists(), timeout_s=60, what="the keeper")
            goal = begun + chance.randint(1, 3)
            for event in mine:
                log.restore([event]).result()
                if commits() >= goal:
                    break
            wait_until(lambda goal=begun + 1: commits() >= goal, timeout_s=60, what="a commit")  # type: ignore[misc]
            process.send_signal(signal.SIGKILL)
            process.wait()
        fell.append(assert_kept(place, log))
        for event in mine:
            log.restore([event]).result()
    assert any(at < log.position() for at in fell), "no kill fell before the end"
    with Traces(log, folder) as traces:
        traces.drain(to=log.position())
    assert assert_kept(place, log) == log.position()
    compact(place)
    assert assert_kept(place, log) == log.position()


JOIN = """import sys
from telemetry.query.traces.compact import compact
from telemetry.query.traces.place import place_of
compact(place_of(sys.argv[1]))"""


def kill_joining(folder: Path, place: Place, *, after: int) -> None:
    """Kills the process that joins files once it has written so many, or it ends before."""

    def number() -> int:
        return sum(path.endswith(".parquet") for path in place.everything())

    goal = number() + after
    command = (sys.executable, "-c", JOIN, str(folder))
    process = subprocess.Popen(command, cwd=ROOT, preexec_fn=end_with_parent)
    wait_until(lambda: process.poll() is not None or number() >= goal, timeout_s=60, what="a joined file")
    process.kill()
    process.wait()


def test_a_kill_while_files_are_joined_leaves_the_rows(log: EventLog, tmp_path: Path) -> None:
    folder = tmp_path / "traces"
    for start in range(0, len(golden("refund")), 10):
        log.restore(golden("refund")[start : start + 10]).result()
        with Traces(log, folder) as traces:
            traces.drain(to=log.position())
    place = place_of(folder)
    for more in (1, 3, 9, 20):
        kill_joining(folder, place, after=more)
        assert_kept(place, log)
    compact(place)
    assert assert_kept(place, log) == log.position()
    manifest = read(place)
    assert manifest is not None
    assert all(len(files) == 1 for files in manifest.partitions().values())
