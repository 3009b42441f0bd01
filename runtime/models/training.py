"""From sessions on a log to a model on disk, with how well it foresees what it never learnt from.

Knows the order of things; the maths of a model, `world_model` knows. Loads torch. Invariant: nothing is written to the
log here, and a model is on disk whole or not at all."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import JsonValue

from loops.errors import NothingToLearn
from loops.lessons import Lessons, Source, read_lessons
from runtime.models.learnt import Kind, Learnt, code_version, versions
from runtime.models.store import Kept, Registry, lay_down, laying_down
from runtime.models.withheld import Allowed, allowed
from runtime.sessions import PREFIX
from telemetry.events.values import EventId, ModelId
from telemetry.log import EventLog
from world_model.checkpoint import save
from world_model.errors import TooFewTransitions, TrainingStopped
from world_model.experience import Experience, check_finite
from world_model.frozen import FrozenLinear, learn_linear
from world_model.held_out import compared, figures
from world_model.jepa.config import JepaConfig
from world_model.jepa.fit import Progress, fit
from world_model.jepa.lesson import FEWEST_TRANSITIONS, in_units
from world_model.jepa.model import Jepa
from world_model.plan.landmarks import Landmarks

HELD_OUT = 0.1
"""Share of the sessions that the figures are of; a training splits what is left again to choose its weights."""


DEFAULTS = JepaConfig()


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be trained. Of `steps` and `seconds` at most one is given; without them the configuration says."""

    name: str
    kind: Kind = "jepa"
    config: JepaConfig = DEFAULTS
    steps: int | None = None
    seconds: float | None = None
    seed: int = 0
    where: str | None = None
    """The expression that chose the sessions, to be said of the model."""


class Told(NamedTuple):
    """How far a training is: the step, of how many (0 where time decides), and what the last look at held-out sessions
    showed, once there was one."""

    step: int
    of: int
    looked: Progress | None = None


@dataclass(frozen=True, slots=True)
class Watch:
    """Who looks on. `stop` is asked at every step, and ends a training with the best model so far."""

    read: Callable[[int], None] = lambda _: None
    """Is told of each session that was read."""
    told: Callable[[Told], None] = lambda _: None
    stop: Callable[[], bool] = lambda: False


class Made(NamedTuple):
    kept: Kept
    learnt: Learnt
    ends: tuple[EventId, ...]
    """The last event of each session that it learnt from."""
    failure: TrainingStopped | None
    """What stopped the training; the model is then its last good one, and not the latest of its name."""


def train(log: EventLog, chosen: Sequence[Source], order: Order, *, registry: Registry, watch: Watch) -> Made:
    """Reads, trains, judges, and keeps the model in `registry`.

    What is withheld is left out before anything is read. Raises what reading and fitting raise; `TrainingStopped` only
    where there is no good model to keep."""
    sources, excluded = _allowed(log, chosen)
    lessons = read_lessons(log, sources, heard=watch.read)
    learnt, held_out = split(lessons.experience)
    check_finite(lessons.experience)
    compared(held_out)  # what would fail at the end fails before the training
    fitted = _fitted(learnt, order, watch)
    linear = fitted.model if isinstance(fitted.model, FrozenLinear) else learn_linear(learnt)
    metrics = {**figures(fitted.model, linear, held_out), **fitted.metrics}
    lived = lessons.experience
    landmarks = Landmarks.of(fitted.model.outcomes(lived), lived, seed=order.seed)
    with laying_down(registry, order.name) as written:
        model_id = save(written, fitted.model, name=order.name, landmarks=landmarks, metrics=metrics)
        said = _said(model_id, order, lessons, sources, log=log.name, held_out=held_out.transitions)
        said = said.model_copy(update={"metrics": metrics, "stopped": fitted.stopped, "excluded": excluded})
        said.write(written)
        kept = lay_down(registry, written, model_id.rpartition("@")[2], latest=fitted.failure is None)
    return Made(kept, said, lessons.ends, fitted.failure)


def _allowed(log: EventLog, chosen: Sequence[Source]) -> Allowed:
    """Raises NothingToLearn where all of them are withheld."""
    found = allowed(log, chosen)
    if chosen and not found.sources:
        why = ", ".join(f"{count} {name}" for name, count in found.excluded.items())
        raise NothingToLearn(
            f"all of the {len(chosen)} sessions are withheld from learning: {why}. Nothing was read; let others run "
            "first: aether run SCENARIO.toml"
        )
    return found


def _said(
    model_id: ModelId, order: Order, lessons: Lessons, chosen: Sequence[Source], *, log: str, held_out: int
) -> Learnt:
    """What it was learnt from."""
    config: dict[str, JsonValue] = order.config.model_dump(mode="json") if order.kind == "jepa" else {}
    if order.steps is not None:
        config["steps"] = order.steps
    if order.seconds is not None:
        config |= {"steps": None, "seconds": order.seconds}
    return Learnt(
        model=model_id,
        kind=order.kind,
        at=time.time_ns(),
        log=log,
        from_position=lessons.from_position,
        to_position=lessons.to_position,
        data=lessons.digest,
        transitions=lessons.experience.transitions,
        held_out=held_out,
        unreadable=lessons.unreadable,
        where=order.where,
        scenarios=tuple(dict.fromkeys(source.opened.scenario for source in chosen)),
        environments=lessons.environments,
        sessions=tuple(stream.removeprefix(PREFIX) for stream in lessons.streams),
        seed=order.seed,
        config=config,
        code=code_version(),
        versions=versions(),
    )


def split(experience: Experience) -> tuple[Experience, Experience]:
    """What a model may learn from, and what its figures are of: the same sessions in every round that a log is trained
    on, whatever the seed. Raises TooFewTransitions."""
    needed = math.ceil(FEWEST_TRANSITIONS / (1 - HELD_OUT))
    if experience.transitions < needed:
        raise TooFewTransitions(
            f"there are {experience.transitions} transitions; a model needs at least {needed}: {FEWEST_TRANSITIONS} to "
            "learn from, and the rest to be judged by. Run more cycles of these sessions' scenario, then train again",
            found=experience.transitions,
            needed=needed,
        )
    return in_units(experience).set_aside(HELD_OUT)


class _Fitted(NamedTuple):
    model: Jepa | FrozenLinear
    metrics: Mapping[str, float]
    stopped: str | None = None
    failure: TrainingStopped | None = None


def _fitted(learnt: Experience, order: Order, watch: Watch) -> _Fitted:
    return _linear(learnt, order, watch) if order.kind == "linear" else _jepa(learnt, order, watch)


def _linear(learnt: Experience, order: Order, watch: Watch) -> _Fitted:
    began, total = time.perf_counter(), learnt.transitions
    model = learn_linear(learnt, name=order.name, told=lambda count: watch.told(Told(count, total)), stop=watch.stop)
    took = {"steps": float(model.linear.transitions), "elapsed_s": time.perf_counter() - began}
    return _Fitted(model, took, INTERRUPTED if model.linear.transitions < total else None)


def _jepa(learnt: Experience, order: Order, watch: Watch) -> _Fitted:
    looked: list[Progress] = []
    taken, total = 0, order.steps or (0 if order.seconds is not None else order.config.steps)

    def stop(step: int) -> bool:
        nonlocal taken
        taken = step
        watch.told(Told(taken, total, looked[-1] if looked else None))
        return watch.stop()

    try:
        fitted = fit(
            learnt,
            order.config,
            steps=order.steps,
            seconds=order.seconds,
            seed=order.seed,
            told=looked.append,
            stop=stop,
            name=order.name,
        )
    except TrainingStopped as stopped:
        if stopped.last_good is None and watch.stop():
            raise KeyboardInterrupt from stopped  # ended before there was anything good to keep
        if stopped.last_good is None:
            raise
        return _Fitted(stopped.last_good, {"steps": float(taken)}, str(stopped), stopped)
    if not fitted.progress:
        raise KeyboardInterrupt  # before the first step
    return _Fitted(fitted.model, fitted.metrics, INTERRUPTED if watch.stop() else None)


INTERRUPTED = "interrupted"
"""Why a training ended that a person ended."""
