"""What a session planned, and where it stood each time."""

from __future__ import annotations

from loops.context import Context
from loops.scene import Scene
from telemetry.events import Recorded, reason
from tests.local import Local, folded
from world_model.plan.settings import PlanSettings

QUICK = PlanSettings(horizon=3, candidates=16, iterations=2, elites=4)
PLANNING = "planning = { horizon = 3, candidates = 16, iterations = 2, elites = 4 }"
"""The same in a scenario."""


def moments(local: Local, name: str) -> list[Context]:
    """The session at each of its plans, as the phases saw it."""
    found: list[Context] = []
    scene, before = Scene(), list[Recorded]()
    for recorded in local.events(name):
        if recorded.type == "reason.planned":
            found.append(Context(f"session/{name}", folded(before), scene))
        scene = scene.see(recorded.id, recorded.event)
        before.append(recorded)
    return found


def plans(local: Local, name: str) -> list[reason.Planned]:
    return [r.event for r in local.events(name, "reason.planned") if isinstance(r.event, reason.Planned)]
