"""`aether model evaluate`: a model that was learnt from the log against the scenario that made it, on Ray."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from runtime.models.standing import base_id
from runtime.scenario import read_scenario
from telemetry.errors import LogError
from telemetry.events import session
from telemetry.log import open_log
from tests.aether import Aether, wait_until
from tests.clusters import Head

PAIRS = 4
MAZE = f"""\
name = "maze"
seed = 7
sessions = 20

[environment]
id = "gymnasium:PointMaze_UMaze-v3"
frames = 5
max_frames = 150

[reasoner]
kind = "greedy"
hold = 6
explore = 0.5

[learning]
pairs = [{PAIRS}, {PAIRS + 2}]
"""


@pytest.fixture(scope="module")
def learnt(head: Head) -> Iterator[Aether]:
    """A home in which twenty sessions ran and a linear model learnt from them."""
    aether = Aether()
    aether.attach(head)
    assert aether("run", _file(aether), "--json").code == 0
    trained = aether("train", "world-model", "maze", "--scenario", "maze", "--kind", "linear", "--json")
    assert trained.code == 0, trained.err
    yield aether
    aether.remove()


def _file(aether: Aether) -> str:
    path = aether.folder / "maze.toml"
    path.write_text(MAZE, encoding="utf-8")
    return str(path)


def evaluations(aether: Aether) -> list[session.Opened]:
    with closing(open_log(aether.log, mode="read")) as log:
        opened = [recorded.event for recorded in log.read_all(types=("session.opened",))]
    return [one for one in opened if isinstance(one, session.Opened) and one.purpose == "evaluation"]


def closed(aether: Aether) -> int:
    try:
        with closing(open_log(aether.log, mode="read")) as log:
            return sum(1 for _ in log.read_all(types=("session.closed",)))
    except LogError:  # it is being opened
        return 0


def test_ctrl_c_leaves_what_ran_and_the_same_command_goes_on_to_the_verdict(learnt: Aether) -> None:
    command = ("model", "evaluate", "maze", "--scenario", _file(learnt))
    before = closed(learnt)
    with learnt.start(*command, "--pairs", str(PAIRS), terminal=True) as started:
        wait_until(lambda: closed(learnt) > before, what="a session of the evaluation ends")
        started.signal_group(signal.SIGINT)
        ended = started.end()
    assert ended.code in (0, 130)  # the last of them may have ended by then
    assert "Traceback" not in ended.out
    if ended.code == 130:
        assert "the same command goes on" in ended.out
    found = learnt(*command, "--pairs", str(PAIRS), "--json")
    assert found.code == 0, found.err
    (row,) = found.rows
    assert (row["look"], row["pairs"], row["left_out"]) == (PAIRS, PAIRS, 0)
    assert found.json["incumbent"] == base_id(read_scenario(Path(_file(learnt))))
    assert row["event"].startswith("model/maze@")
    assert found.json["event"] is None  # nothing was settled
    assert len(evaluations(learnt)) == 2 * PAIRS
    assert set(Counter(one.seed for one in evaluations(learnt)).values()) == {2}

    shown = learnt(*command, "--promote")
    assert shown.code == 0, shown.err
    assert f"is {'promoted' if 'promoted' in shown.out else 'rejected'}" in shown.out
    assert "at least" in shown.out
    assert len(evaluations(learnt)) in (2 * PAIRS, 2 * (PAIRS + 2))
    why = learnt(*command, "--against", "base", "--json")
    assert why.json["decision"] in ("promote", "reject")
    with closing(open_log(learnt.log, mode="read")) as log:
        verdicts = list(log.read("model/maze", types=("learn.model_promoted", "learn.model_rejected")))
    assert len(verdicts) == 1


def test_what_cannot_be_meant_starts_nothing(learnt: Aether) -> None:
    file = _file(learnt)
    before = len(evaluations(learnt))
    odd = learnt("model", "evaluate", "maze", "--scenario", file, "--pairs", "5")
    assert (odd.code, "looked at after 4, 6 pairs, not after 5" in odd.err) == (2, True)
    missing = learnt("model", "evaluate", "nothing", "--scenario", file)
    assert missing.code == 3
    itself = learnt("model", "evaluate", "maze", "--scenario", file, "--against", "maze", "--json")
    assert (itself.code, itself.json["error"]["type"]) == (2, "UsageError")
    assert len(evaluations(learnt)) == before
