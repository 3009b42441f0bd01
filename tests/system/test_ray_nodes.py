"""Sessions whose host and phase actors live on different nodes, and nodes that are lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from telemetry.log import open_log
from tests.aether import Aether, Row, position, wait_until
from tests.clusters import Nodes

CYCLES = 120
EVENTS_A_CYCLE = 20

MAZE = """\
name = "nodes"
seed = 7

[environment]
id = "gymnasium:PointMaze_UMaze-v3"
frames = 5
max_frames = 150
episodes = 1000

[memory]
when = "surprise"
recall = 4
"""
POOLS = f"""\
{MAZE}
[placement]
sense = "away"
feel = "away"
reason = "away"
execute = "away"
learn = "away"

[pools.away]
cpus = 1
"""


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    """The head has room for a session host and nothing else."""
    cluster = Nodes(cpus=1)
    yield cluster
    cluster.close()


def test_a_pool_whose_node_is_lost_comes_back_on_another_and_nothing_differs(aether: Aether, nodes: Nodes) -> None:
    calm, command = _calm(aether), _command(aether)
    lost, left = nodes.add(cpus=1), nodes.add(cpus=1)
    aether.attach(nodes)
    with aether.start(*command) as started:
        _goes_on(aether.log)
        if nodes.actors("PhaseActor", on=left):
            lost, left = left, lost
        assert len(nodes.actors("PhaseActor", on=lost)) == 1
        assert len(nodes.actors("SessionHost", on=nodes.head)) == 1, "the host lies where the log lies"
        nodes.kill(lost)
        wait_until(lambda: bool(nodes.actors("PhaseActor", on=left)), what="the actor moved")
        struck = started.end()
    assert struck.code == 0, struck.err
    (row,) = struck.rows
    assert (row["cycles"], row["state_hash"]) == (CYCLES, calm["state_hash"])
    assert "session.resumed" not in _types(aether, row), "the host itself was never touched"


def test_a_pool_whose_node_is_lost_for_good_leaves_its_session_open_and_says_what_is_missing(
    aether: Aether, nodes: Nodes
) -> None:
    calm, only, command = _calm(aether), nodes.add(cpus=1), _command(aether)
    aether.attach(nodes)
    with aether.start(*command) as started:
        _goes_on(aether.log)
        nodes.kill(only)
        ended = started.end()
    assert ended.code == 6
    assert "a node of the cluster was lost: the pools ask for 1 CPUs" in ended.out + ended.err
    assert "this cluster has 1 CPUs" in ended.out + ended.err
    (row,) = aether("session", "list", "--json").rows
    assert row["status"] == "open", "nothing was made up about what nobody knows"
    nodes.add(cpus=1)
    (resumed,) = aether("session", "resume", row["session"], "--json").rows
    assert (resumed["cycles"], resumed["state_hash"]) == (CYCLES, calm["state_hash"])


_CALM: list[Row] = []
"""The undisturbed session, run once."""


def _calm(aether: Aether) -> Row:
    if not _CALM:
        _CALM.extend(aether(*_command(aether), "--log", str(aether.folder / "calm.db")).rows)
    return _CALM[0]


def _command(aether: Aether) -> tuple[str, ...]:
    file = aether.folder / "scenario.toml"
    file.write_text(POOLS)
    return "run", str(file), "--cycles", str(CYCLES), "--json"


def _goes_on(log: Path) -> None:
    wait_until(lambda: position(log) > 5 * EVENTS_A_CYCLE, what="the session is under way")


def _types(aether: Aether, row: Row) -> list[str]:
    with closing(open_log(aether.log, mode="read")) as log:
        return [event.type for event in log.read(f"session/{row['session']}")]
