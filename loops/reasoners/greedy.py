"""One step ahead on the linear model, toward the declared goal.

Knows the goal and the model's forecast; knows no map. Until the model can say anything, and in a share of
the cycles, it explores, because a model that only sees its own choices never learns the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from loops.context import Context
from loops.ports import Forecast
from loops.reasoners.draw import draw, proposals
from loops.reasoners.explore import Explore
from loops.spaces import ACHIEVED, parts
from telemetry.events import reason
from telemetry.events.values import Action, Persistence

CANDIDATES = 64
"""Actions scored a cycle in a continuous space: a spacing of about .25 in a unit square."""
OFFERED = 4
"""The best of them that go to the heart."""


class Greedy:
    """Explores until the model has learnt twice as many transitions as it has inputs (fewer do not determine it),
    and in about a share `explore` of the later cycles, in bouts of `hold`."""

    def __init__(self, *, hold: int, explore: float) -> None:
        self._explore = Explore(hold=hold)
        self._share = explore

    def propose(self, context: Context, forecast: Forecast) -> Sequence[reason.Proposed]:
        if self._exploring(context):
            return self._explore.propose(context, forecast)
        observed = context.scene.observed
        assert observed is not None, "reason follows sense"
        assert observed.goal is not None, "compose refuses greedy without a goal-conditioned environment"
        desired = observed.goal.desired.numpy()
        actions = draw(context.spaces.moves, context.random("reason"), CANDIDATES)
        expected = forecast(actions)
        assert expected is not None, "a goal-conditioned environment is numeric"
        achieved = [parts(context.spaces, mean)[ACHIEVED] for mean in expected.mean]
        scores = [float(np.linalg.norm(where - desired)) for where in achieved]
        best = sorted(range(len(actions)), key=lambda i: (scores[i], i))[:OFFERED]
        return proposals([actions[i] for i in best], "nearest to the goal after one step", [scores[i] for i in best])

    def persist(self, context: Context, action: Action) -> Persistence | None:
        return self._explore.persist(context, action) if self._exploring(context) else None

    def _exploring(self, context: Context) -> bool:
        spaces, state = context.spaces, context.state
        warmup = 2 * (spaces.width + spaces.action.width + 1)
        if state.belief.transitions < warmup or (state.persist is not None and state.persist.remaining > 0):
            return True
        return bool(context.random("reason", ordinal=2).random() < self._share / self._explore.hold)
