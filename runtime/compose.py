"""The only wiring: a scenario becomes the phases that one process runs.

Knows every organ's constructor; keeps nothing. Invariant: nothing else in the house builds an organ."""

from __future__ import annotations

from dataclasses import dataclass

from heart.gate import Gate
from loops.environments import make_environment
from loops.errors import ScenarioInvalid
from loops.execute import Execute
from loops.feel import Feel
from loops.learn import Learn
from loops.models import Models
from loops.ports import Reasoner
from loops.reason import Reason
from loops.reasoners.explore import Explore
from loops.reasoners.greedy import Greedy
from loops.sense import Sense
from loops.spaces import Spaces
from loops.worlds import Worlds
from runtime.scenario import ReasonerSettings, Scenario


@dataclass(frozen=True, slots=True)
class Phases:
    """The five phases and the replicas they share in one process."""

    sense: Sense
    feel: Feel
    reason: Reason
    execute: Execute
    learn: Learn
    models: Models
    worlds: Worlds

    def forget(self, stream: str) -> None:
        """Lets go of what is kept for a session that does not run any more."""
        self.models.forget(stream)
        self.worlds.close(stream)


def compose(scenario: Scenario) -> Phases:
    """The phases of `scenario`, with replicas of their own."""
    models = Models()
    worlds = Worlds(lambda: make_environment(scenario.environment))
    gate = Gate(scenario.heart)
    return Phases(
        sense=Sense(),
        feel=Feel(gate, models),
        reason=Reason(_reasoner(scenario.reasoner), gate, models),
        execute=Execute(worlds),
        learn=Learn(models, scenario.memory),
        models=models,
        worlds=worlds,
    )


def _reasoner(settings: ReasonerSettings) -> Reasoner:
    if settings.kind == "greedy":
        return Greedy(hold=settings.hold, explore=settings.explore)
    return Explore(hold=settings.hold)


def check_fit(scenario: Scenario, spaces: Spaces) -> None:
    """Raises `ScenarioInvalid` where the reasoner needs what the environment does not show."""
    if scenario.reasoner.kind == "greedy" and spaces.goal is None:
        raise ScenarioInvalid(
            f"the greedy reasoner needs a declared goal, and {scenario.environment.id} shows none; "
            'use reasoner.kind = "explore", or a goal-conditioned environment'
        )
