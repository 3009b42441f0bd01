"""Scenarios that are rerun, and a rerun of one session."""

from __future__ import annotations

from runtime.models.registry.store import Registry
from runtime.rerun.many import rerun
from runtime.rerun.policy import read_policy
from runtime.rerun.values import SessionRerun
from telemetry.events import reason
from telemetry.events.values import Action
from telemetry.log import EventLog
from tests.local import Local

LINE = """
name = "line"
environment = {{ id = "gymnasium:AetherLine-v0", max_frames = 12, episodes = 9, options = {{ mark = "rerun" }}{more} }}
memory = {{ when = "always", recall = 0 }}
[reasoner]
kind = "{reasoner}"
hold = {hold}
explore = 0.3
[world_model]
kind = "{world_model}"
[heart]
{heart}
"""

WALL = """
on_ask = "{on_ask}"
[[heart.rules]]
id = "wall"
verdict = "{verdict}"
reason = "there is a wall to the right"
region = {{ of = "observation", index = [0], low = {at}, at = "{when}" }}
"""


def line(
    reasoner: str = "greedy", *, hold: int = 2, world_model: str = "linear", heart: str = "", more: str = ""
) -> str:
    return LINE.format(reasoner=reasoner, hold=hold, world_model=world_model, heart=heart, more=more)


def wall(verdict: str = "refuse", *, on_ask: str = "safest", at: float = 1.0, when: str = "forecast") -> str:
    return WALL.format(verdict=verdict, on_ask=on_ask, at=at, when=when)


COUNT = """
name = "count"
environment = {{ id = "null:" }}
memory = {{ recall = 0 }}
[reasoner]
hold = 1
[heart]
on_ask = "{on_ask}"
{rules}
"""
RULE = """
[[heart.rules]]
id = "{id}"
verdict = "{verdict}"
reason = "that one is precious"
actions = [{actions}]
"""


def count(*rules: tuple[str, str, str], on_ask: str = "wait") -> str:
    told = (RULE.format(id=name, verdict=verdict, actions=numbers) for name, verdict, numbers in rules)
    return COUNT.format(on_ask=on_ask, rules="".join(told))


def one(
    log: EventLog, session: str = "s", *, cycles: int | None = None, registry: Registry | None = None, **replaced: str
) -> SessionRerun:
    (row,) = rerun(log, [session], read_policy(replaced, registry=registry), cycles=cycles).sessions
    assert row.counts.cycles == row.cycles
    assert row.covered + len(row.differences) + row.differences_left_out == row.cycles
    return row


def whole(row: SessionRerun) -> bool:
    """Whether every decision came out as it is recorded, in every field."""
    return row.cycles > 0 and row.identical == row.covered == row.covered_before_first == row.cycles


def decisions(local: Local, name: str) -> list[Action]:
    """What the session decided on, cycle after cycle."""
    return [r.event.action for r in local.events(name, "reason.decided") if isinstance(r.event, reason.Decided)]
