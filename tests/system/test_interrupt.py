"""Ctrl-C and SIGTERM: sessions end their cycle and rest, and go on later as if nothing had happened."""

from __future__ import annotations

import signal
from collections import Counter
from contextlib import closing

import pytest

from telemetry.errors import LogError
from telemetry.log import open_log
from tests.aether import Aether, processes_naming, wait_until
from tests.clusters import Head

MAZE = """\
name = "interrupt"
seed = 5
sessions = 2
cycles = 500

[environment]
id = "gymnasium:PointMaze_UMaze-v3"
frames = 5
max_frames = 150
episodes = 1000

[reasoner]
kind = "greedy"
"""
STUCK = """\
import threading
from pathlib import Path

import gymnasium
from gymnasium.spaces import Discrete


class Stuck(gymnasium.Env):
    observation_space = action_space = Discrete(2)

    def reset(self, *, seed=None, options=None):
        return 0, {}

    def step(self, action):
        Path(__file__).with_name("stuck").touch()
        threading.Event().wait(600)
        return 0, 0.0, False, False, {}


gymnasium.register("Stuck-v0", Stuck)
"""
GONE_TIMEOUT_S = 60.0
SOME = 10


@pytest.fixture(scope="module")
def calm(head: Head) -> list[str]:
    """The final state hashes of the sessions when nobody interrupts them."""
    aether = Aether()
    aether.attach(head)
    rows = aether("run", _file(aether), "--json").rows
    aether.remove()
    return sorted(row["state_hash"] for row in rows)


def test_ctrl_c_in_a_terminal_suspends_and_resume_goes_on_to_the_same_end(aether: Aether, calm: list[str]) -> None:
    with aether.start("run", _file(aether), terminal=True) as started:
        _wait_for_cycles(aether)
        wait_until(
            lambda: "episodes succeeded" in started.shown(),
            what="the live line tells of episodes",
        )
        started.signal_group(signal.SIGINT)
        ended = started.end()
    assert ended.code == 130
    assert "aether session resume --all" in ended.out
    for shown in ("0/2 sessions ended", "cycles, ", "/s", "episodes succeeded", "surprise "):
        assert shown in ended.out, "the live line was shown"
    assert "Traceback" not in ended.out
    _check_rest_and_resume(aether, calm)
    _check_nothing_is_left(aether)


def test_sigterm_suspends_as_well(attached: Aether, calm: list[str]) -> None:
    with attached.start("run", _file(attached)) as started:
        _wait_for_cycles(attached)
        started.signal(signal.SIGTERM)
        ended = started.end()
    assert ended.code == 130, ended.err
    assert "Traceback" not in ended.err
    _check_rest_and_resume(attached, calm)


def test_an_interrupt_with_json_still_answers_one_document(attached: Aether) -> None:
    with attached.start("run", _file(attached), "--json") as started:
        _wait_for_cycles(attached)
        started.signal_group(signal.SIGINT)
        ended = started.end()
    assert ended.code == 130
    assert {row["status"] for row in ended.rows} == {"suspended"}


def test_ctrl_c_while_ray_starts_leaves_nothing_behind(aether: Aether) -> None:
    with aether.start("run", _file(aether)) as started:
        wait_until(lambda: any(aether.folder.glob("aether-*")), what="Ray is being started")
        started.signal_group(signal.SIGINT)
        ended = started.end()
    assert ended.code == 130
    assert "Traceback" not in ended.err
    _check_nothing_is_left(aether)


def test_a_second_ctrl_c_ends_at_once_and_the_log_is_whole(aether: Aether) -> None:
    """The world is stuck for ten minutes, and the first Ctrl-C has to wait for the end of its cycle."""
    (aether.folder / "stuck.py").write_text(STUCK)
    file = aether.folder / "stuck.toml"
    file.write_text('name = "stuck"\n[environment]\nid = "gymnasium:stuck:Stuck-v0"\n')
    with aether.start("run", str(file), env={"PYTHONPATH": str(aether.folder)}) as started:
        wait_until((aether.folder / "stuck").exists, what="the world is stuck")
        started.signal_group(signal.SIGINT)
        with pytest.raises(TimeoutError):
            wait_until(lambda: not started.running, timeout_s=1, what="the first is being obeyed")
        ended = started.interrupted_again()
    assert ended.code == 130
    assert "Traceback" not in ended.err
    assert aether("log", "verify").code == 0


def _file(aether: Aether) -> str:
    file = aether.folder / "interrupt.toml"
    file.write_text(MAZE)
    return str(file)


def _wait_for_cycles(aether: Aether) -> None:
    """Until both sessions have closed some: one may begin long after the other."""

    def written() -> bool:
        if not aether.log.exists():
            return False
        try:
            with closing(open_log(aether.log, mode="read")) as log:
                closed = Counter(one.stream for one in log.read_all(types=("session.cycle_closed",)))
        except LogError:  # its tables are being made
            return False
        return len(closed) == 2 and min(closed.values()) >= SOME

    wait_until(written, what=f"{SOME} cycles of both sessions")


def _check_rest_and_resume(aether: Aether, calm: list[str]) -> None:
    rested = aether("session", "list", "--json").rows
    assert [row["status"] for row in rested] == ["suspended"] * 2
    with closing(open_log(aether.log, mode="read")) as log:
        for row in rested:
            last = [event.type for event in log.read_back(f"session/{row['session']}")][:2]
            assert last == ["session.suspended", "session.cycle_closed"]
    gone_on = aether("session", "resume", "--all", "--json")
    assert gone_on.code == 0, gone_on.err
    assert sorted(row["state_hash"] for row in gone_on.rows) == calm


def _check_nothing_is_left(aether: Aether) -> None:
    wait_until(
        lambda: processes_naming(str(aether.folder)) == [], timeout_s=GONE_TIMEOUT_S, what="the local Ray is gone"
    )
    assert list(aether.folder.glob("aether-*")) == []
