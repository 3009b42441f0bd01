"""Ctrl-C and SIGTERM: sessions end their cycle and rest, and go on later as if nothing had happened."""

from __future__ import annotations

import signal
import time
from contextlib import closing
from pathlib import Path

import pytest

from telemetry.errors import LogError
from telemetry.log import open_log
from tests.aether import Aether, Started, processes_naming, wait_until

CYCLES = 150
MAZE = """\
name = "interrupt"
seed = 5
sessions = 2
cycles = 150

[environment]
id = "gymnasium:PointMaze_UMaze-v3"
frames = 5
max_frames = 150
episodes = 1000

[reasoner]
kind = "greedy"
"""
REST_TIMEOUT_S = 30.0
AT_ONCE_S = 5.0


def test_ctrl_c_in_a_terminal_suspends_and_resume_goes_on_to_the_same_end(
    aether: Aether, attached_calm: dict[int, str]
) -> None:
    with aether.start("run", _file(aether), terminal=True) as started:
        _wait_for_events(aether, 300)
        started.signal_group(signal.SIGINT)
        ended = started.end(timeout_s=REST_TIMEOUT_S)
    assert ended.code == 130
    assert "aether session resume --all" in ended.out
    assert "sessions ended" in ended.out, "the live line was shown"
    assert "Traceback" not in ended.out
    _check_rest_and_resume(aether, attached_calm)
    assert processes_naming(str(aether.folder)) == [], "no process of the local Ray is left"
    assert [path.name for path in aether.folder.glob("aether-*")] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_without_a_terminal_suspends_as_well(
    attached: Aether, attached_calm: dict[int, str], number: signal.Signals
) -> None:
    with attached.start("run", _file(attached)) as started:
        _wait_for_events(attached, 300)
        started.signal(number)
        ended = started.end(timeout_s=REST_TIMEOUT_S)
    assert ended.code == 130, ended.err
    assert "Traceback" not in ended.err
    _check_rest_and_resume(attached, attached_calm)


def test_an_interrupt_with_json_still_answers_one_document(attached: Aether) -> None:
    with attached.start("run", _file(attached), "--json") as started:
        _wait_for_events(attached, 100)
        started.signal_group(signal.SIGINT)
        ended = started.end(timeout_s=REST_TIMEOUT_S)
    assert ended.code == 130
    assert {row["status"] for row in ended.rows} == {"suspended"}


def test_ctrl_c_while_ray_starts_leaves_nothing_behind(aether: Aether) -> None:
    with aether.start("run", _file(aether)) as started:
        wait_until(lambda: any(aether.folder.glob("aether-*")), timeout_s=30, what="Ray is being started")
        started.signal_group(signal.SIGINT)
        ended = started.end(timeout_s=REST_TIMEOUT_S)
    assert ended.code == 130
    assert "Traceback" not in ended.err
    assert processes_naming(str(aether.folder)) == []
    assert [path.name for path in aether.folder.glob("aether-*")] == []


def test_a_second_ctrl_c_ends_at_once_and_the_log_is_whole(attached: Aether) -> None:
    """The world is stuck for a minute, so the first Ctrl-C has to wait for the end of its cycle."""
    (attached.folder / "stuck.py").write_text(STUCK)
    file = attached.folder / "stuck.toml"
    file.write_text('name = "stuck"\n[environment]\nid = "gymnasium:stuck:Stuck-v0"\n')
    with attached.start("run", str(file), PYTHONPATH=str(attached.folder)) as started:
        _wait_for_stuck(attached)
        started.signal_group(signal.SIGINT)
        time.sleep(1)  # the first one is being obeyed: nothing can be polled for
        assert started.running
        began = time.monotonic()
        started.signal_group(signal.SIGINT)
        ended = started.end(timeout_s=REST_TIMEOUT_S)
    assert time.monotonic() - began < AT_ONCE_S
    assert ended.code == 130
    assert "Traceback" not in ended.err
    assert attached("log", "verify").code == 0
