"""How a fleet got on from round to round: what stood before the first, and after each, as it acted on evaluation seeds.

Knows the verdicts' figures and the evaluation sessions behind them; draws nothing. Invariant: every number follows from
the log alone, and so does the same curve whenever it is drawn."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, JsonValue

from loops.spaces import Spaces, Vector, flatten
from runtime.learning.history import History, Round, Verdict
from runtime.learning.judging.sequential import Interval, resampled
from runtime.models.using import PINNED
from runtime.sessions import opened
from telemetry.events import Recorded, learn, sense
from telemetry.events.values import EventId, ModelId
from telemetry.log import EventLog

SEEN = ("sense.observed", "sense.surprised")


class Arm(BaseModel):
    """How one policy acted on the evaluation seeds of a round. Intervals are of 95 %."""

    model_config = ConfigDict(frozen=True)

    model: ModelId
    success: Interval
    steps: Interval
    """Decisions to the goal; a failure has the budget."""
    nats: Interval | None = None
    """Surprise a dimension, the mean over the sessions."""
    error_over_copy: Interval | None = None
    """Of the prediction that each decision was taken on: its error over that of "nothing changes"."""


class Point(BaseModel):
    """What stands after a round, and before the first as round 0."""

    model_config = ConfigDict(frozen=True)

    round: int
    stands: Arm
    candidate: Arm | None = None
    """None in round 0, and where the candidate was rejected before any session."""
    verdict: Verdict | None = None
    share: float = 1.0
    """Of the sessions that act by a promoted candidate."""
    why: str = ""
    pairs: int
    """That acted; 0 where what stands is as it was measured before."""
    transitions: int = 0
    """That the candidate was learnt from."""
    decided: EventId | None = None
    """The verdict's event."""


def curve(log: EventLog, told: History) -> tuple[Point, ...]:
    """One point before the first round that was judged by acting, and one for each round from there on."""
    points: list[Point] = []
    for one in told.rounds:
        arms = _arms(log, one)
        if arms is None:
            points += [_unmeasured(one, points[-1].stands)] if points else []
            continue
        candidate, incumbent, pairs = arms
        if not points:
            points.append(Point(round=one.number - 1, stands=incumbent, pairs=pairs))
        points.append(
            Point(
                round=one.number,
                stands=candidate if one.verdict == "promoted" and one.share == 1 else incumbent,
                candidate=candidate,
                verdict=one.verdict,
                share=one.share,
                why=one.why,
                pairs=pairs,
                transitions=one.transitions,
                decided=one.decided,
            )
        )
    return tuple(points)


def _unmeasured(one: Round, stands: Arm) -> Point:
    """A candidate that was rejected before any session: what stood stands, as it was measured last."""
    return Point(
        round=one.number,
        stands=stands,
        verdict=one.verdict,
        why=one.why,
        pairs=0,
        transitions=one.transitions,
        decided=one.decided,
    )


def _arms(log: EventLog, one: Round) -> tuple[Arm, Arm, int] | None:
    """The candidate and the incumbent of a round; None where no session acted for its verdict."""
    looked = _last_look(log, one)
    if looked is None or not isinstance(looked.event, learn.ModelEvaluated):
        return None
    figures = looked.event.figures
    lives = [_life(log, stream) for stream in _streams(looked)]
    candidate = _arm(one.model, figures, "", [life for life in lives if life.model == one.model])
    others = [life for life in lives if life.model != one.model]
    return candidate, _arm(looked.event.incumbent, figures, "_before", others), looked.event.pairs


def _last_look(log: EventLog, one: Round) -> Recorded | None:
    stream = one.trained.partition("@")[0]
    for recorded in log.read_back(stream, types=("learn.model_evaluated",)):
        event = recorded.event
        if one.decided_at and recorded.position > one.decided_at:
            continue
        if recorded.position < one.trained_at:
            return None
        if isinstance(event, learn.ModelEvaluated) and event.model == one.model:
            return recorded
    return None


def _streams(looked: Recorded) -> list[str]:
    """Of the sessions that the look rests on, each once."""
    refs: list[str] = json.loads(looked.refs)
    return list(dict.fromkeys(ref.rpartition("@")[0] for ref in refs if ref.startswith("session/")))


class _Life(BaseModel):
    """An evaluation session in sums."""

    model: ModelId | None
    """None where it acted as its scenario says."""
    missed: float = 0.0
    """Squared error of the predictions, summed over the decisions."""
    moved: float = 0.0
    """The same of a copy."""


def _life(log: EventLog, stream: str) -> _Life:
    first = opened(log, stream)
    spaces = Spaces.model_validate(first.spaces)
    before: Vector | None = None
    now: Vector | None = None
    missed = moved = 0.0
    for recorded in log.read(stream, types=SEEN):
        match recorded.event:
            case sense.Observed() as observed:
                before = now if observed.step > 0 else None
                now = flatten(spaces, observed.observations, observed.goal)
            case sense.Surprised(error=error) if before is not None and now is not None:
                missed += error**2
                moved += float(np.square(now - before).mean())
    return _Life(model=first.versions.get(PINNED), missed=missed, moved=moved)


def _arm(model: ModelId, figures: Mapping[str, JsonValue], suffix: str, lives: Sequence[_Life]) -> Arm:
    def said(name: str) -> Interval:
        value, low, high = (_number(figures, name + part) for part in (suffix, f"{suffix}_low", f"{suffix}_high"))
        return Interval(value, low, high)

    return Arm(
        model=model,
        success=said("success"),
        steps=said("steps"),
        nats=said("nats") if f"nats{suffix}" in figures else None,
        error_over_copy=over_copy([life.missed for life in lives], [life.moved for life in lives]),
    )


def over_copy(missed: Sequence[float], moved: Sequence[float]) -> Interval | None:
    """Root of the squared errors of some sessions over that of a copy's, by the percentile bootstrap over whole
    sessions; None where nothing moved."""
    pairs_N2 = np.array([pair for pair in zip(missed, moved, strict=True) if pair[1] > 0]).reshape(-1, 2)
    if not len(pairs_N2):
        return None
    value = float(_root(*pairs_N2.T))
    if np.ptp(pairs_N2[:, 0] / pairs_N2[:, 1]) == 0:
        return Interval(value, value, value)
    return resampled(tuple(pairs_N2.T), _root, value=value, seed=0, paired=True)


def _root(missed_N: NDArray[np.float64], moved_N: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(missed_N.sum(axis=axis) / moved_N.sum(axis=axis)))


def _number(figures: Mapping[str, JsonValue], name: str) -> float:
    value = figures[name]
    assert isinstance(value, int | float), "figures of a verdict are numbers"
    return float(value)
