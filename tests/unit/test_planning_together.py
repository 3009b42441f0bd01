"""A phase actor plans for all sessions whose asks came in one call, and each gets the plan it would get alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import Tensor

from loops.context import Context
from runtime.compose import Phases, compose
from runtime.hosting.pools import PhaseActor
from runtime.models.using import Reader
from runtime.scenario import Phase, parse_scenario
from telemetry.events import Event, reason
from tests.local import Local
from tests.planned import moments
from tests.trained import line, trained
from world_model.checkpoint import Artifact
from world_model.jepa.model import Jepa
from world_model.plan.forward import Rollout

STEPS: list[tuple[Phase, str]] = [("reason", "propose"), ("feel", "proposals"), ("reason", "decide")]
SESSIONS = 4


class Counted(Jepa):
    """A model that says for how many sessions it foresaw at a time."""

    sizes: list[int]

    def rollout(self, start_BZ: Tensor, controls_BNHA: Tensor) -> Rollout:
        self.sizes.append(len(start_BZ))
        return super().rollout(start_BZ, controls_BNHA)


class Actor(PhaseActor):
    """Without Ray around it."""

    def __init__(self, phases: Phases) -> None:
        self._phases = phases


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("models") / "one"
    trained(folder)
    return line(folder)


def actor(text: str) -> tuple[Actor, list[int]]:
    scenario = parse_scenario(text, source="scenario").scenario
    which = scenario.world_model.model
    assert which is not None
    reader, sizes = Reader(named=which), list[int]()

    def read(model: str) -> Artifact:
        artifact = reader(model)
        assert isinstance(artifact.model, Jepa)
        counted = Counted(artifact.model.anatomy, artifact.model.network)
        counted.sizes = sizes
        return artifact._replace(model=counted)

    phases = compose(scenario, read=read)
    return Actor(phases), sizes


def contexts(local: Local, text: str) -> list[Context]:
    """Sessions at their third plan, as the phases are asked for it."""
    for n in range(SESSIONS):
        local.run(f"s{n}", text, seed=n, cycles=4)
    return [moments(local, f"s{n}")[2] for n in range(SESSIONS)]


def decided(answer: object) -> list[Event]:
    assert isinstance(answer, list)
    return [event for step in answer for event in step.events]


def test_asks_that_came_together_are_planned_for_in_one_batch_and_answered_as_alone(local: Local, text: str) -> None:
    asked = contexts(local, text)
    together, sizes = actor(text)
    answers = together.together([("steps", (STEPS, context)) for context in asked], 60.0)
    assert sizes == [SESSIONS, SESSIONS], "one batch for each of two iterations, and none after"
    alone, each = actor(text)
    for context, (answer, error) in zip(asked, answers, strict=True):
        assert error is None
        ((by_itself, _),) = alone.together([("steps", (STEPS, context))], 60.0)
        expected = decided(by_itself)
        found = decided(answer)
        assert [event.type for event in found] == [event.type for event in expected]
        assert found == expected, "the same to the bit"
        recorded = [r.event for r in local.log.read(context.stream) if r.cycle == 3 and r.phase == "reason"]
        assert [event for event in found if event.type.startswith("reason.")] == recorded
    assert each == [1] * (2 * SESSIONS)


def test_a_plan_of_an_ask_that_was_put_off_is_kept_for_the_next_call(local: Local, text: str) -> None:
    first, second, *_ = contexts(local, text)
    one, sizes = actor(text)
    asks = [("steps", (STEPS, first)), ("steps", (STEPS, second))]
    assert len(one.together(asks, 0.0)) == 1
    assert sizes == [2, 2]
    ((answer, error),) = one.together(asks[1:], 60.0)
    assert error is None
    assert any(isinstance(event, reason.Planned) for event in decided(answer))
    assert sizes == [2, 2], "it was not planned again"
