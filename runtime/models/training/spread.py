"""A JEPA's training on the Ray that is connected: read by Ray Data, fitted by Ray Train's workers.

Knows `loops.training` and where its states lie; loads Ray and torch. Invariant: an order that was cut off goes on from
its last state, under the name that its looks had."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import JsonValue

from loops.lessons import Lessons, Source
from loops.training.ray_data import Gathered, gather
from loops.training.ray_train import Workers, check_room
from loops.training.world_model import train_jepa
from runtime.models.learnt import code_version
from runtime.models.training.order import INTERRUPTED, Fit, Fitted, Order, Told, Watch
from runtime.models.training.unfinished import Storage, Unfinished, unfinished
from telemetry.events.learn import TrainingProgressed
from telemetry.events.values import canonical_json
from telemetry.log import EventLog
from world_model.errors import TrainingStopped
from world_model.experience import Experience
from world_model.jepa.state import Progress

Part = Callable[[Experience], Experience]


class Spread(NamedTuple):
    lessons: Lessons
    fit: Fit


def spread(
    log: EventLog, sources: Sequence[Source], order: Order, watch: Watch, *, part: Part, storage: Storage
) -> Spread:
    """What was read, and what then fits a model to `part` of it, which each worker makes for itself.

    Raises what `gather` raises, and `NoRoom` before anything is read."""
    check_room(Workers(order.workers, gpu=order.gpu, cpus=order.cpus))
    gathered = gather(log.url, sources, heard=watch.read)

    def fit(_learnt: Experience, order: Order, watch: Watch) -> Fitted:
        with unfinished(storage.folder, order.name, _key(order, gathered.lessons)) as under_way:
            return _fit(gathered, order, watch, part, under_way, states=storage.states_of(under_way.folder))

    return Spread(gathered.lessons, fit)


def _key(order: Order, lessons: Lessons) -> str:
    """Of all that decides what comes of a training."""
    config: JsonValue = order.config.model_dump(mode="json")
    budget: list[JsonValue] = [order.steps, order.seconds, order.seed, order.workers, order.gpu, order.cpus]
    whole: list[JsonValue] = [lessons.digest, config, *budget, code_version()]
    return hashlib.sha256(canonical_json(whole).encode()).hexdigest()[:12]


def _fit(
    gathered: Gathered, order: Order, watch: Watch, part: Part, under_way: Unfinished, *, states: Path | str
) -> Fitted:
    telling = _Telling(order, under_way.run, watch)
    try:
        trained = train_jepa(
            gathered,
            order.config,
            part=part,
            steps=order.steps,
            seconds=order.seconds,
            seed=order.seed,
            name=order.name,
            workers=order.workers,
            gpu=order.gpu,
            cpus=order.cpus,
            storage=states,
            told=telling.told,
            stop=watch.stop,
        )
    except TrainingStopped as stopped:
        under_way.ended = True
        if stopped.last_good is None and watch.stop():
            raise KeyboardInterrupt from stopped  # ended before there was anything good to keep
        if stopped.last_good is None:
            raise
        return Fitted(stopped.last_good, {"steps": float(telling.step)}, str(stopped), stopped, under_way.run)
    under_way.ended = True
    if not trained.fitted.progress:
        raise KeyboardInterrupt  # before the first step
    more = {"startup_s": trained.startup_s, "workers_lost": float(trained.lost), "resumed_at": float(trained.resumed)}
    stopped_by = INTERRUPTED if watch.stop() else None
    return Fitted(trained.fitted.model, {**trained.fitted.metrics, **more}, stopped_by, run=under_way.run)


class _Telling:
    """What `train_jepa` says, in the words of a watch."""

    def __init__(self, order: Order, run: str, watch: Watch) -> None:
        self.step = 0
        self._order = order
        self._run = run
        self._watch = watch
        self._total = order.steps or (0 if order.seconds is not None else order.config.steps)
        self._last: Progress | None = None

    def told(self, step: int, looked: Progress | None) -> None:
        self.step = step
        if looked is not None:
            self._last = looked
            self._watch.looked(
                TrainingProgressed(
                    model=self._order.name,
                    run=self._run,
                    step=looked.step,
                    steps=looked.steps,
                    loss=looked.loss,
                    parts=looked.parts,
                    held_out=looked.held_out,
                    workers=self._order.workers,
                )
            )
        self._watch.told(Told(step, self._total, self._last))
