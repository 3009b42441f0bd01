"""From sessions on a log to a model on disk, with how well it foresees what it never learnt from.

Knows the order of things; the maths of a model, `world_model` knows, and how a JEPA's training is spread over a
cluster, `loops.training`. Loads torch. Invariant: nothing is written to the log here, and a model is on disk whole or
not at all."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import NamedTuple

from pydantic import JsonValue

from loops.errors import NothingToLearn
from loops.lessons import Lessons, Source, read_lessons
from runtime.models.learnt import Learnt, code_version, versions
from runtime.models.registry.store import Kept, Registry, check_writable, lay_down, laying_down
from runtime.models.training.order import INTERRUPTED, Fit, Fitted, Order, Told, Watch
from runtime.models.training.unfinished import Storage
from runtime.models.training.withheld import Allowed, allowed
from runtime.sessions import PREFIX
from telemetry.events.values import EventId, ModelId
from telemetry.log import EventLog
from world_model.checkpoint import save
from world_model.errors import TooFewTransitions, TrainingStopped
from world_model.experience import Experience, check_finite
from world_model.frozen import FrozenLinear, learn_linear
from world_model.held_out import compared, figures
from world_model.jepa.lesson import FEWEST_TRANSITIONS, in_units
from world_model.plan.landmarks import Landmarks

__all__ = ["HELD_OUT", "Made", "Order", "Told", "Watch", "learnt_part", "split", "train"]

HELD_OUT = 0.1
"""Share of the sessions that the figures are of; a training splits what is left again to choose its weights."""


class Made(NamedTuple):
    kept: Kept
    learnt: Learnt
    ends: tuple[EventId, ...]
    """The last event of each session that it learnt from."""
    failure: TrainingStopped | None
    """What stopped the training; the model is then its last good one, and not the latest of its name."""


def train(
    log: EventLog, chosen: Sequence[Source], order: Order, *, registry: Registry, storage: Storage, watch: Watch
) -> Made:
    """Reads, trains, judges, and keeps the model in `registry`. While a JEPA trains its states lie in `storage`, from
    where an equal order over equal rows goes on.

    What is withheld is left out before anything is read. Raises what reading and fitting raise, `TrainingLost` where
    workers were; `TrainingStopped` only where there is no good model to keep."""
    check_writable(registry, order.name)
    sources, excluded = _allowed(log, chosen)
    fit: Fit = _linear
    if order.kind == "linear":
        lessons = read_lessons(log, sources, heard=watch.read)
    else:
        from runtime.models.training.spread import spread  # loads Ray, which a linear model has no use for

        lessons, fit = spread(log, sources, order, watch, part=learnt_part, storage=storage)
    learnt, held_out = split(lessons.experience)
    check_finite(lessons.experience)
    compared(held_out)  # what would fail at the end fails before the training
    fitted = fit(learnt, order, watch)
    linear = fitted.model if isinstance(fitted.model, FrozenLinear) else learn_linear(learnt)
    metrics = {**figures(fitted.model, linear, held_out), **fitted.metrics}
    lived = lessons.experience
    landmarks = Landmarks.of(fitted.model.outcomes(lived), lived, seed=order.seed)
    with laying_down(registry, order.name) as written:
        model_id = save(written, fitted.model, name=order.name, landmarks=landmarks, metrics=metrics)
        said = _said(model_id, order, lessons, sources, log=log.name, held_out=held_out.transitions)
        said = said.model_copy(
            update={"metrics": metrics, "stopped": fitted.stopped, "run": fitted.run, "excluded": excluded}
        )
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
        workers=order.workers,
        gpu=order.gpu,
        config=config,
        code=code_version(),
        versions=versions(),
    )


def learnt_part(experience: Experience) -> Experience:
    """What a model may learn from, as each worker makes it of all rows."""
    return split(experience)[0]


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


def _linear(learnt: Experience, order: Order, watch: Watch) -> Fitted:
    began, total = time.perf_counter(), learnt.transitions
    model = learn_linear(learnt, name=order.name, told=lambda count: watch.told(Told(count, total)), stop=watch.stop)
    took = {"steps": float(model.linear.transitions), "elapsed_s": time.perf_counter() - began}
    return Fitted(model, took, INTERRUPTED if model.linear.transitions < total else None)
