"""What replicas need of a session's past, read from its log a page at a time.

Knows which events make a transition and which make an episode; keeps nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loops.errors import Diverged
from loops.scene import Scene, Transition
from loops.spaces import named_arrays
from loops.worlds import Taken
from telemetry.errors import LogDamaged
from telemetry.events import execute, learn, sense
from telemetry.events.values import Action, Digest
from telemetry.log import EventLog

_OF_TRANSITIONS = (
    "session.cycle_opened",
    "sense.observed",
    "execute.intended",
    "execute.succeeded",
    "learn.belief_updated",
)
_OF_EPISODES = ("sense.observed", "execute.intended", "execute.succeeded")


def transitions(log: EventLog, stream: str, *, to: int | None = None) -> Iterator[Transition]:
    """Every transition the session's world model has learnt, in order; up to version `to` where that is given."""
    scene = Scene()
    for recorded in log.read(stream, to=to, types=_OF_TRANSITIONS):
        event = recorded.event
        scene = scene.see(recorded.id, event)
        if isinstance(event, learn.BeliefUpdated):
            assert scene.learned is not None, f"{recorded.id}: a belief is updated by a transition"
            yield scene.learned


def recent(log: EventLog, stream: str, *, count: int, before: int | None = None) -> list[Transition]:
    """The last `count` transitions of the episode that the stream ends in, or that version `before` stands in, oldest
    first; fewer where it is younger."""
    found: list[Transition] = []
    happened: set[Digest] = set()
    action: Action | None = None
    after: sense.Observed | None = None
    for recorded in log.read_back(stream, before=before, types=_OF_EPISODES):
        match recorded.event:
            case execute.Succeeded(effect=effect, observed=observed) if observed is not None:
                happened.add(effect)
            case execute.Intended(effect=effect, action=intended) if effect in happened:
                action = intended
            case sense.Observed() as seen:
                if after is not None and action is not None:
                    found.append(Transition(seen, action, after))
                if after is None or action is not None:  # else nothing was done since: the same moment again
                    after, action = seen, None
                if seen.step == 0 or len(found) == count:
                    break
    return found[::-1]


def episode(log: EventLog, stream: str) -> tuple[Digest, list[Taken]]:
    """The digest that the current episode began with, and every action that was taken in it since."""
    taken: list[Taken] = []
    outcomes: dict[str, Digest] = {}
    for recorded in log.read_back(stream, types=_OF_EPISODES):
        match recorded.event:
            case execute.Succeeded(effect=effect, observed=observed) if observed is not None:
                outcomes[effect] = observed
            case execute.Intended(effect=effect, action=action) if effect in outcomes:
                taken.append(Taken(action=action, observed=outcomes.pop(effect)))
            case sense.Observed(step=0, digest=digest):
                return digest, taken[::-1]
    raise LogDamaged(f"{stream} has no observation that begins its episode; try: aether log verify")


def divergence(log: EventLog, stream: str, error: Diverged) -> str:
    """By how much what the simulator shows is off from what was sensed, in the environment's units."""
    for recorded in log.read_back(stream, types=("sense.observed",)):
        event = recorded.event
        if isinstance(event, sense.Observed) and event.digest == error.recorded:
            seen = named_arrays(event.observations, event.goal)
            shown = named_arrays(error.shown.observations, error.shown.goal)
            sizes = [f"{name} {_off(seen[name], values)}" for name, values in shown.items() if name in seen]
            return f"Largest differences: {', '.join(sizes) or 'in words only'}"
    return "What it showed then was never sensed, so the size of the difference is not known"


def _off(seen: NDArray[Any], shown: NDArray[Any]) -> str:
    if seen.shape != shown.shape:
        return f"shape {shown.shape} for {seen.shape}"
    return f"{np.abs(shown.astype(np.float64) - seen.astype(np.float64)).max(initial=0.0):.3g}"
