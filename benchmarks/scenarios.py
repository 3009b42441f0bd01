"""What the loop's benchmarks run: a session whose organs and world are as small as they can be, and the maze."""

from __future__ import annotations

from benchmarks.report import ROOT
from loops.randomness import derive
from runtime.hosting.orders import SessionOrder
from runtime.scenario import parse_scenario

NULL = """\
name = "null"

[environment]
id = "null:"

[reasoner]
kind = "explore"

[world_model]
kind = "none"

[memory]
when = "never"
recall = 0
"""
"""A world that counts and never ends: what is left is the loop, its events and the log."""

POOLS = f"""\
{NULL}
[placement]
sense = "phases"
feel = "phases"
reason = "phases"
execute = "phases"
learn = "phases"

[pools.phases]
actors = 2
cpus = 0              # two small machines' cores are the host's and the driver's
"""
"""The same with every phase in a pool of two actors; a session keeps to one of them."""


def maze() -> str:
    """examples/maze.toml with episodes without end, so that a session lasts as long as it is measured."""
    text = (ROOT / "examples" / "maze.toml").read_text(encoding="utf-8")
    endless = text.replace("[environment]\n", "[environment]\nepisodes = 1000000\n", 1)
    assert parse_scenario(endless, source="the maze").scenario.environment.episodes == 1_000_000
    return endless


def order(text: str, *, index: int = 0, cycles: int | None = None) -> SessionOrder:
    """One session of the scenario; equal indices give equal sessions."""
    return SessionOrder(session=f"{index:012x}", scenario_text=text, seed=derive(0, "benchmark", index), cycles=cycles)
