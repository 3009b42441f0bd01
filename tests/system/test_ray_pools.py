"""Where phases run changes nothing but time; and what a pool asks for must be there."""

from __future__ import annotations

from contextlib import closing

import pytest

from loops.state import state_hash
from telemetry.log import open_log
from tests.aether import Aether
from tests.local import folded

MAZE = """\
name = "pools"
seed = 3

[environment]
id = "gymnasium:PointMaze_UMaze-v3"
frames = 5
max_frames = 100
episodes = 1000

[reasoner]
kind = "greedy"

[memory]
when = "surprise"
recall = 4
"""
PHASES = ("sense", "feel", "reason", "execute", "learn")
CYCLES = "40"


def _pools(placement: dict[str, str], **pools: str) -> str:
    places = "\n".join(f'{phase} = "{pool}"' for phase, pool in placement.items())
    tables = "\n".join(f"[pools.{name}]\n{body}\n" for name, body in pools.items())
    return f"{MAZE}\n[placement]\n{places}\n\n{tables}"


@pytest.fixture(scope="module")
def calm() -> dict[str, list[str]]:
    """Filled with the final states of the sessions whose phases all ran in the host."""
    return {}


@pytest.mark.parametrize(
    ("placement", "pools"),
    [
        (dict.fromkeys(PHASES, "all"), {"all": "actors = 2\ncpus = 0.5"}),
        ({phase: phase for phase in PHASES}, dict.fromkeys(PHASES, "cpus = 0.2")),
        pytest.param({"execute": "world"}, {"world": "cpus = 0.5"}, marks=pytest.mark.slow),
        pytest.param({"reason": "mind", "learn": "mind"}, {"mind": "cpus = 0.5"}, marks=pytest.mark.slow),
    ],
    ids=["one pool of two actors", "a pool for each phase", "only execute", "reason and learn"],
)
def test_phases_in_pools_end_in_the_state_of_phases_in_the_host(
    attached: Aether, calm: dict[str, list[str]], placement: dict[str, str], pools: dict[str, str]
) -> None:
    calm.setdefault("states", _states(attached, MAZE))
    assert _states(attached, _pools(placement, **pools)) == calm["states"]


@pytest.mark.parametrize(
    ("pool", "asked", "there"),
    [
        ("cpus = 64", "64 CPUs", "this cluster has 8 CPUs"),
        ("actors = 9\ncpus = 1", "9 CPUs", "this cluster has 8 CPUs"),
        ("gpus = 64", "64 GPUs", "GPUs, 0 on one node"),
    ],
)
def test_a_pool_that_asks_for_more_than_there_is_is_exit_6(attached: Aether, pool: str, asked: str, there: str) -> None:
    run = attached("run", _file(attached, _pools({"execute": "world"}, world=pool)), "--cycles", CYCLES)
    assert run.code == 6
    assert "did not start within" not in run.err, "it was not waited for"
    assert asked in run.err
    assert there in run.err
    assert "[pools]" in run.err, "it says what to change"
    assert attached("session", "list", "--json").rows == [], "no session was opened"


def test_a_host_that_asks_for_more_than_there_is_is_exit_6(attached: Aether) -> None:
    env = {"AETHER_HOST_CPUS": "64"}
    run = attached("run", _file(attached, MAZE), "--cycles", CYCLES, env=env)
    assert run.code == 6
    assert "64 CPUs" in run.err
    assert "has 8" in run.err
    assert not attached.log.exists(), "nothing was started"


def _states(aether: Aether, scenario: str) -> list[str]:
    """The final states but for the digest of the scenario's text, which says where phases run."""
    run = aether("run", _file(aether, scenario), "--cycles", CYCLES, "--sessions", "3", "--json")
    assert run.code == 0, run.out + run.err
    with closing(open_log(aether.log, mode="read")) as log:
        states = [folded(list(log.read(f"session/{row['session']}"))) for row in run.rows]
    assert [state_hash(state) for state in states] == [row["state_hash"] for row in run.rows]
    return [state_hash(state.model_copy(update={"scenario": None})) for state in states]


def _file(aether: Aether, scenario: str) -> str:
    file = aether.folder / "pools.toml"
    file.write_text(scenario)
    return str(file)
