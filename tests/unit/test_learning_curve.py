"""Figures by round are what the verdicts say and what the evaluation sessions lived."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import numpy as np
import pytest

from runtime.entry import entered
from runtime.learning.curve import curve
from runtime.learning.history import history
from runtime.models.using import PINNED
from telemetry.events import Draft, Event, sense, session
from telemetry.events.learn import ModelEvaluated, ModelPromoted, ModelRejected, ModelTrained
from telemetry.events.values import ArrayObservation
from telemetry.log import EventLog
from tests.local import Local

BASE = "greedy@4f6b00000000"
MAZE = """\
name = "maze"
seed = 7
[environment]
id = "gymnasium:PointMaze_UMaze-v3"
frames = 5
max_frames = 100
[reasoner]
kind = "explore"
[memory]
when = "never"
recall = 0
"""


def model(number: int) -> str:
    return f"maze@{number:012d}"


def figures(success: float, steps: float, nats: float) -> dict[str, float]:
    """Of a look: the candidate's as given, the incumbent's worse."""
    found: dict[str, float] = {}
    for suffix, shares in (("", (success, steps, nats)), ("_before", (success - 0.2, steps + 10, nats + 1))):
        for name, value in zip(("success", "steps", "nats"), shares, strict=True):
            found |= {f"{name}{suffix}": value, f"{name}{suffix}_low": value - 0.1, f"{name}{suffix}_high": value + 0.1}
    return found


def trained(number: int) -> ModelTrained:
    data = "0" * 64
    return ModelTrained(model=model(number), from_position=1, to_position=2, data=data, config={}, code="1", metrics={})


def judged(log: EventLog, local: Local, number: int, *, promoted: bool, told: Mapping[str, float]) -> None:
    """A round of one pair, whose sessions are run here and copied as evaluations."""
    entered(log, trained(number), refs=(), run=f"{number}")
    refs = [evaluation(log, local, f"{arm}{number}", acts) for arm, acts in (("a", model(number)), ("b", None))]
    looked = ModelEvaluated(model=model(number), incumbent=BASE, scenario="maze", pairs=40, figures=dict(told))
    entered(log, looked, refs=tuple(refs), run=f"{number}")
    verdict: ModelPromoted | ModelRejected
    if promoted:
        verdict = ModelPromoted(model=model(number), incumbent=BASE, figures=dict(told), why="better")
    else:
        verdict = ModelRejected(model=model(number), incumbent=BASE, figures=dict(told), why="not shown")
    entered(log, verdict, refs=(), run=f"{number}")


def evaluation(log: EventLog, local: Local, name: str, acts: str | None) -> str:
    """A real session's events, opened as an evaluation by `acts`; the id of its last event."""
    local.run(f"{name}-lived", MAZE, cycles=5, seed=ord(name[0]) + int(name[1]))
    drafts = []
    for number, recorded in enumerate(local.events(f"{name}-lived")):
        event = recorded.event
        assert isinstance(event, Event)
        if isinstance(event, session.Opened):
            versions = event.versions | ({} if acts is None else {PINNED: acts})
            event = event.model_copy(update={"purpose": "evaluation", "versions": versions})
        drafts.append(Draft(event=event, command=str(number)))
    return log.append(f"session/{name}", drafts, expected_version=0, epoch=1)[-1].id


def missed(local: Local, name: str) -> tuple[float, float]:
    """Squared errors of the predictions and of a copy, by another way than the curve's."""
    seen, errors = [], []
    for recorded in local.events(name, "sense.observed", "sense.surprised"):
        match recorded.event:
            case sense.Observed(observations=observations, goal=goal):
                parts = [o.array.numpy().ravel() for o in observations if isinstance(o, ArrayObservation)]
                assert goal is not None
                seen.append(np.concatenate([*parts, goal.achieved.numpy()]))
            case sense.Surprised(error=error):
                errors.append(error)
    assert len(errors) == len(seen) - 1
    return sum(e**2 for e in errors), sum(float(((b - a) ** 2).mean()) for a, b in itertools.pairwise(seen))


def test_what_stood_before_is_round_0_and_what_stands_follows_the_verdicts(log: EventLog, local: Local) -> None:
    judged(log, local, 1, promoted=True, told=figures(0.9, 12, -1.5))
    judged(log, local, 2, promoted=False, told=figures(0.8, 14, -1.4))
    points = curve(log, history(log, "maze"))
    assert [(point.round, point.stands.model, point.verdict) for point in points] == [
        (0, BASE, None),
        (1, model(1), "promoted"),
        (2, BASE, "rejected"),
    ]
    assert [point.stands.success.value for point in points] == pytest.approx([0.7, 0.9, 0.6])
    assert [point.stands.steps.value for point in points] == pytest.approx([22, 12, 24])
    nats = [point.stands.nats for point in points]
    assert [found.value for found in nats if found is not None] == pytest.approx([-0.5, -1.5, -0.4])
    assert points[2].candidate is not None
    assert points[2].candidate.success == pytest.approx((0.8, 0.7, 0.9))


def test_the_error_over_a_copy_is_of_each_arms_own_sessions(log: EventLog, local: Local) -> None:
    judged(log, local, 1, promoted=True, told=figures(0.9, 12, -1.5))
    (before, after) = curve(log, history(log, "maze"))
    for arm, name in ((after.stands, "a1"), (before.stands, "b1")):
        ours, theirs = missed(local, name)
        assert arm.error_over_copy is not None
        assert arm.error_over_copy.value == pytest.approx(math.sqrt(ours / theirs))


def test_after_a_round_that_was_decided_without_sessions_the_last_measurement_stands(
    log: EventLog, local: Local
) -> None:
    judged(log, local, 1, promoted=True, told=figures(0.9, 12, -1.5))
    trained = ModelTrained(
        model=model(2), from_position=1, to_position=2, data="0" * 64, config={}, code="", metrics={}
    )
    entered(log, trained, refs=(), run="2")
    entered(log, ModelRejected(model=model(2), incumbent=model(1), figures={}, why="collapsed"), refs=(), run="2")
    told = history(log, "maze")
    assert [one.verdict for one in told.rounds] == ["promoted", "rejected"]
    points = curve(log, told)
    assert [(point.round, point.verdict, point.pairs) for point in points] == [
        (0, None, 40),
        (1, "promoted", 40),
        (2, "rejected", 0),
    ]
    assert points[2].stands == points[1].stands
    assert points[2].candidate is None


def test_nothing_is_drawn_before_any_session_was_judged(log: EventLog) -> None:
    entered(log, trained(1), refs=(), run="1")
    entered(log, ModelRejected(model=model(1), incumbent=BASE, figures={}, why="collapsed"), refs=(), run="1")
    assert curve(log, history(log, "maze")) == ()
