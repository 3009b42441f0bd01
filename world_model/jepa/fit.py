"""Training in this process: one step after the other until it ends.

Knows how a training begins; how it goes on, `training` knows. Invariant: equal experience, configuration, steps and
seed give equal bits on one machine."""

from __future__ import annotations

from collections.abc import Callable

import torch

from world_model.errors import ShapeError
from world_model.experience import Experience
from world_model.jepa.calibrate import put_on_one_scale
from world_model.jepa.config import JepaConfig
from world_model.jepa.crew import ALONE, Crew
from world_model.jepa.lesson import Lesson
from world_model.jepa.model import Anatomy, Jepa
from world_model.jepa.network import Network
from world_model.jepa.senses import senses_of
from world_model.jepa.state import Progress, State
from world_model.jepa.training import Budget, Fitted, Stop, Training, never, untold

__all__ = ["Fitted", "Progress", "Stop", "begin", "fit"]


def fit(
    experience: Experience,
    config: JepaConfig,
    *,
    steps: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    told: Callable[[Progress], None] = untold,
    stop: Stop = never,
    start: Jepa | None = None,
    device: str = "cpu",
    name: str = "jepa",
) -> Fitted:
    """A model of what was lived, after `steps` steps, or `seconds`, or `config.steps` where neither is given.
    Where `stop` ends it before, it has one more look and is the best so far.

    `start` is a model to go on from: its weights, statistics and senses. The weights kept are those of the best look
    at held-out sessions. Raises TooFewTransitions; Collapsed and LossNotFinite, which hold what was good before;
    ShapeError when `start` has another layout or other sizes."""
    budget = Budget(total_steps(config, steps=steps, seconds=seconds), seconds, stop)
    training = begin(experience, config, budget, seed=seed, told=told, start=start, device=device, name=name)
    while not training.ended:
        training.advance()
    return training.fitted()


def total_steps(config: JepaConfig, *, steps: int | None, seconds: float | None) -> int:
    """How many steps there are in all; 0 where only time decides."""
    return steps if steps is not None else (0 if seconds is not None else config.steps)


def begin(
    experience: Experience,
    config: JepaConfig,
    budget: Budget,
    *,
    seed: int = 0,
    told: Callable[[Progress], None] = untold,
    start: Jepa | None = None,
    device: str = "cpu",
    name: str = "jepa",
    crew: Crew = ALONE,
    state: State | None = None,
) -> Training:
    """A training before its first step, or where an earlier one of equal arguments stood. Raises TooFewTransitions and
    ShapeError as `fit` and `Training` do."""
    lesson = Lesson.of(experience, config, seed=seed)
    senses = start.anatomy.senses if start is not None else senses_of(experience)
    anatomy = Anatomy(layout=experience.layout, senses=senses, config=config)
    network = _first_network(anatomy, lesson, start, seed=seed)
    return Training(lesson, network, anatomy, budget, told=told, device=device, name=name, crew=crew, state=state)


def _first_network(anatomy: Anatomy, lesson: Lesson, start: Jepa | None, *, seed: int) -> Network:
    """Its weights depend on the seed alone; torch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Network(anatomy.layout, anatomy.senses, anatomy.config)
    if start is None:
        put_on_one_scale(network, lesson.learnt, anatomy.senses)
        return network
    if start.layout != anatomy.layout:
        raise ShapeError(
            f"the model to go on from is of {start.layout.describe()}; what was lived is of "
            f"{anatomy.layout.describe()}. Train a new model"
        )
    states = (network.state_dict(), start.network.state_dict())
    here, there = ({k: tuple(v.shape) for k, v in state.items()} for state in states)
    if here != there:
        other = next(k for k in here | there if here.get(k) != there.get(k))
        raise ShapeError(
            f"the model to go on from has {other} of {there.get(other)}, the configuration asks for {here.get(other)}"
        )
    network.load_state_dict(start.network.state_dict())
    return network
