"""What is to be trained, who looks on, and what a training comes to: the words that its parts share.

Loads neither torch nor Ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from runtime.models.learnt import Kind
from telemetry.events.learn import TrainingProgressed
from world_model.jepa.config import JepaConfig

if TYPE_CHECKING:
    from world_model.errors import TrainingStopped
    from world_model.experience import Experience
    from world_model.frozen import FrozenLinear
    from world_model.jepa.model import Jepa
    from world_model.jepa.state import Progress

DEFAULTS = JepaConfig()


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be trained. Of `steps` and `seconds` at most one is given; without them the configuration says.

    A JEPA is trained on the Ray that is connected, by `workers` with so many CPUs each, and a GPU each if so asked; a
    linear model in this process."""

    name: str
    kind: Kind = "jepa"
    config: JepaConfig = DEFAULTS
    steps: int | None = None
    seconds: float | None = None
    seed: int = 0
    where: str | None = None
    """The expression that chose the sessions, to be said of the model."""
    workers: int = 1
    gpu: bool = False
    cpus: float = 1.0


class Told(NamedTuple):
    """How far a training is: the step, of how many (0 where time decides), and what the last look at held-out sessions
    showed, once there was one."""

    step: int
    of: int
    looked: Progress | None = None


@dataclass(frozen=True, slots=True)
class Watch:
    """Who looks on. `stop` is asked now and then, and ends a training with the best model so far."""

    read: Callable[[int], None] = lambda _: None
    """Is told of each session that was read."""
    told: Callable[[Told], None] = lambda _: None
    """Is told how far it is, some times a second or at every step."""
    looked: Callable[[TrainingProgressed], None] = lambda _: None
    """Is told of each look at held-out sessions; of one again, under the same run, where a training was cut off."""
    stop: Callable[[], bool] = lambda: False


class Fitted(NamedTuple):
    model: Jepa | FrozenLinear
    metrics: Mapping[str, float]
    stopped: str | None = None
    failure: TrainingStopped | None = None
    run: str | None = None
    """The name that its looks have."""


Fit = Callable[["Experience", Order, Watch], Fitted]
"""Fits a model to what is to be learnt from."""

INTERRUPTED = "interrupted"
"""Why a training ended that a person ended."""
