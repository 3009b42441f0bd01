"""Plans made in a pool, for several sessions at once, are those made in the host; and a model is found by its name."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from loops.scene import PINNED
from loops.state import state_hash
from runtime.entry import enter
from runtime.sessions import all_heads, opened
from telemetry.events import learn, reason
from telemetry.log import open_log
from tests.aether import Aether, position, wait_until
from tests.local import folded
from tests.trained import trained

MAZE = """\
name = "planning"
seed = 3

[environment]
id = "gymnasium:PointMaze_UMaze-v3"
frames = 5
max_frames = 100
episodes = 1000

[reasoner]
kind = "active_inference"
planning = { horizon = 4, candidates = 24, iterations = 2 }

[memory]
recall = 0
"""
POOL = """
[placement]
reason = "mind"
feel = "mind"
[pools.mind]
cpus = 0.5
"""
LEARNING = """
[learning]
model = "tiny"
"""
MODEL = """
[world_model]
kind = "trained"
model = "tiny"
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    return folder, trained(folder, "gymnasium:PointMaze_UMaze-v3")


@pytest.mark.parametrize("more", [(), (MODEL,)], ids=["linear", "trained"])
def test_sessions_that_are_planned_for_in_a_pool_end_as_those_in_the_host(
    attached: Aether, tiny: tuple[Path, str], more: Sequence[str]
) -> None:
    folder, model = tiny
    name, _, digest = model.partition("@")
    home = attached.folder / "home" / "models" / name
    shutil.copytree(folder, home / digest)
    (home / "latest").write_text(f"{digest}\n")
    here, pool = (_states(attached, MAZE + "".join((*more, *where))) for where in ((), (POOL,)))
    assert here == pool
    with closing(open_log(attached.log, mode="read")) as log:
        pinned = {opened(log, head.stream).versions.get(PINNED) for head in all_heads(log)}
    assert pinned == ({model} if more else {None})


def test_sessions_in_a_pool_take_up_what_is_promoted_while_they_run(attached: Aether, tiny: tuple[Path, str]) -> None:
    folder, model = tiny
    name, _, digest = model.partition("@")
    shutil.copytree(folder, attached.folder / "home" / "models" / name / digest)
    file = attached.folder / "learning.toml"
    greedy = MAZE.replace('kind = "active_inference"', 'kind = "greedy"')
    file.write_text(greedy + LEARNING + POOL)
    with attached.start("run", str(file), "--cycles", "100000", "--sessions", "2", "--json") as running:
        wait_until(lambda: _counted(attached, "session.cycle_closed") > 20, what="cycles")
        promoted = enter(str(attached.log), learn.ModelPromoted(model=model, figures={}), run="p")
        wait_until(lambda: _counted(attached, "learn.model_adopted") == 2, what="both take it up")
        wait_until(lambda: _counted(attached, "reason.planned") > 20, what="plans")
        running.signal(signal.SIGINT)
        assert running.end().code == 130
    with closing(open_log(attached.log, mode="read")) as log:
        for head in all_heads(log):
            (adopted,) = log.read(head.stream, types=("learn.model_adopted",))
            assert (adopted.event, promoted in adopted.refs) == (
                learn.ModelAdopted(model=model, before=None, why="promoted"),
                True,
            )
            for predicted in log.read(head.stream, types=("reason.predicted",)):
                assert isinstance(predicted.event, reason.Predicted)
                before = predicted.version < adopted.version
                assert predicted.event.model == ("linear-rls@1" if before else model)


def _counted(aether: Aether, type_: str) -> int:
    if not position(aether.log):
        return 0  # its host has not come yet
    with closing(open_log(aether.log, mode="read")) as log:
        return sum(1 for _ in log.read_all(types=(type_,)))


def _states(aether: Aether, scenario: str) -> list[str]:
    """The final states but for the digest of the scenario's text, which says where phases run."""
    file = aether.folder / "planning.toml"
    file.write_text(scenario)
    run = aether("run", str(file), "--cycles", "15", "--sessions", "3", "--json")
    assert run.code == 0, run.out + run.err
    with closing(open_log(aether.log, mode="read")) as log:
        states = [folded(list(log.read(f"session/{row['session']}"))) for row in run.rows]
    assert all(state.believed for state in states)
    return [state_hash(state.model_copy(update={"scenario": None})) for state in states]
