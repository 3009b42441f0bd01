"""One training from its order to the last word on the log: what `aether train`, `aether learn` and a schedule call.

Knows who must hear of it; trains nothing itself. Loads torch. Invariant: a model that was laid down is on the log, or
the caller hears that it is not."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import NamedTuple

from loops.lessons import Source
from runtime.entry import Said
from runtime.models.learnt import Kind
from runtime.models.registry.store import Registry
from runtime.models.training.order import Order, Told, Watch
from runtime.models.training.recording import Looks, enter_trained
from runtime.models.training.train import Made, train
from runtime.models.training.unfinished import Storage
from telemetry.events.learn import TrainingProgressed
from telemetry.events.values import EventId
from telemetry.log import open_log
from telemetry.otel.metrics import TrainingMeter


class Done(NamedTuple):
    made: Made
    event: EventId
    """`learn.model_trained`."""


def learn_from(
    url: str,
    chosen: Sequence[Source],
    order: Order,
    *,
    registry: Registry,
    storage: Storage,
    watch: Watch,
    said: Said,
) -> Done:
    """Trains on `chosen` of the log at `url`, and enters there what came of it: each look as it comes, and the model.
    A live host of the log does the entering where there is one. A JEPA needs a connected Ray.

    `said` hears what a person should know and nothing waits for. Raises what `train` raises, and `Unavailable` where
    the model is kept and the log takes no word of it."""
    meter = TrainingMeter(model=order.name, kind=order.kind, workers=order.workers)
    began = time.perf_counter()
    try:
        with closing(open_log(url, mode="read")) as log, Looks(url, said=said) as looks:
            made = train(log, chosen, order, registry=registry, storage=storage, watch=_measured(watch, meter, looks))
    except BaseException as error:
        meter.ended({}, seconds=time.perf_counter() - began, error=type(error).__name__)
        raise
    failed = None if made.failure is None else type(made.failure).__name__
    meter.ended(made.learnt.metrics, seconds=time.perf_counter() - began, error=failed)
    run = f"{made.kept.digest}.{made.learnt.at}"
    return Done(made, enter_trained(url, made.learnt.event, refs=made.ends, run=run, said=said))


def _measured(watch: Watch, meter: TrainingMeter, looks: Looks) -> Watch:
    def told(told: Told) -> None:
        meter.stepped(told.step)
        watch.told(told)

    def looked(look: TrainingProgressed) -> None:
        meter.looked(loss=look.loss, parts=look.parts, held_out=look.held_out)
        looks.tell(look)
        watch.looked(look)

    return replace(watch, told=told, looked=looked)


def fitting(chosen: Sequence[Source], *, asked: bool = False) -> Kind:
    """What is learnt where nobody says; `asked`: for what only a jepa has."""
    layout = chosen[0].layout
    return "linear" if layout is not None and layout.goal and not asked else "jepa"
