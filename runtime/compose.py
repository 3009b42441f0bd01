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
from loops.percept import Percept
from loops.ports import Reasoner
from loops.reason import Reason
from loops.reasoners.explore import Explore
from loops.reasoners.greedy import Greedy
from loops.sense import Sense
from loops.spaces import DiscreteActions, Spaces, flatten, named_arrays, parts
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
    models = Models(scenario.world_model.kind)
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
    """Raises `ScenarioInvalid` where one part of the scenario needs what another does not give."""
    where, greedy, gate = scenario.environment.id, scenario.reasoner.kind == "greedy", Gate(scenario.heart)
    if greedy and spaces.goal is None:
        raise ScenarioInvalid(
            f"the greedy reasoner needs a declared goal, and {where} shows none; "
            'use reasoner.kind = "explore", or a goal-conditioned environment'
        )
    if (greedy or gate.needs_forecast) and not Models(scenario.world_model.kind).predicts(spaces):
        raise ScenarioInvalid(
            'the greedy reasoner and rules with at = "forecast" need predictions, and there are none: '
            f"world_model.kind is {scenario.world_model.kind!r} and {where} shows {spaces.width} numbers"
        )
    moves = [rule.id for rule in scenario.heart.rules if rule.actions is not None]
    if moves and not isinstance(spaces.action, DiscreteActions):
        raise ScenarioInvalid(
            f"the rule {moves[0]!r} forbids actions by number, and {where} takes arrays; use a region"
        )


def check_regions(scenario: Scenario, spaces: Spaces, percept: Percept) -> None:
    """Raises `RegionMismatch` where a rule's region names a part or element that `percept` does not show."""
    forecast = parts(spaces, flatten(spaces, percept.observations, percept.goal))
    Gate(scenario.heart).check(named_arrays(percept.observations, percept.goal), forecast=forecast)
