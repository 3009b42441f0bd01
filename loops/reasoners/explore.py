"""Random actions that persist, so that a body with inertia gets somewhere.

Knows the action space; reads no observation. Its current action is state: it is kept for a drawn number
of cycles, and every draw is counter-based, so an interrupted session goes on as it would have."""

from __future__ import annotations

from collections.abc import Sequence

from loops.context import Context
from loops.ports import MAX_OPTIONS, Forecast
from loops.reasoners.draw import draw, proposals
from loops.spaces import DiscreteActions
from telemetry.events import reason
from telemetry.events.values import Action, Persistence

ALTERNATIVES = 3
"""Further draws of a continuous space, for the heart to choose from when it holds the first one back."""


class Explore:
    """Keeps each action for 1 … 2·hold − 1 cycles, `hold` on average."""

    def __init__(self, *, hold: int) -> None:
        self.hold = hold

    def propose(self, context: Context, forecast: Forecast) -> Sequence[reason.Proposed]:
        space = context.spaces.moves
        count = MAX_OPTIONS if isinstance(space, DiscreteActions) else 1 + ALTERNATIVES
        actions = draw(space, context.random("reason"), count)
        kept = context.state.persist
        if kept is not None and kept.remaining > 0:
            actions.insert(0, kept.action)
        return proposals(actions, "explore")

    def persist(self, context: Context, action: Action) -> Persistence | None:
        kept = context.state.persist
        if kept is not None and kept.remaining > 0 and kept.action == action:
            return Persistence(action=action, remaining=kept.remaining - 1)
        drawn = int(context.random("reason", ordinal=1).integers(1, 2 * self.hold))
        return Persistence(action=action, remaining=drawn - 1)
