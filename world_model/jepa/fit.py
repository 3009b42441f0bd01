"""Training: the steps of a lesson, one after the other, and the looks at held-out sessions between them.

Knows when to stop; the maths of a step is `course`'s, which another trainer can drive. Invariant: equal experience,
configuration, steps and seed give equal bits on one machine."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from world_model.errors import Collapsed, LossNotFinite, ShapeError
from world_model.experience import Experience
from world_model.jepa.calibrate import measure, put_on_one_scale
from world_model.jepa.config import JepaConfig
from world_model.jepa.course import Course
from world_model.jepa.lesson import Lesson
from world_model.jepa.loss import Losses
from world_model.jepa.model import Anatomy, Jepa
from world_model.jepa.network import Network
from world_model.jepa.senses import senses_of

LOOKS: Final = 20
"""Looks at held-out sessions in a training."""

GRACE: Final = 0.25
"""Share of a training after which collapse counts: SIGReg first has to spread what a random encoder does not."""

COLLAPSED_LOOKS: Final = 2
"""Looks in a row that must find it: a column may pass through a narrow place."""


@dataclass(frozen=True, slots=True)
class Progress:
    """After `step` of `steps` (0 where time decides). `held_out`: the open-loop prediction's squared error on held-out
    sessions, read out, over that of the prediction that nothing changes, in [0, ∞)."""

    step: int
    steps: int
    loss: float
    parts: dict[str, float]
    held_out: float


@dataclass(frozen=True, slots=True)
class Fitted:
    model: Jepa
    progress: tuple[Progress, ...]
    steps: int
    elapsed_s: float
    stopped_early: bool

    @property
    def metrics(self) -> dict[str, float]:
        """Numbers that belong beside a checkpoint."""
        last = self.progress[-1]
        return {"loss": last.loss, "held_out": last.held_out, "steps": float(self.steps), "elapsed_s": self.elapsed_s}


def untold(progress: Progress) -> None:
    """Nobody listens."""


def fit(
    experience: Experience,
    config: JepaConfig,
    *,
    steps: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    told: Callable[[Progress], None] = untold,
    start: Jepa | None = None,
    device: str = "cpu",
    name: str = "jepa",
) -> Fitted:
    """A model of what was lived, after `steps` steps, or `seconds`, or `config.steps` where neither is given.

    `start` is a model to go on from: its weights, statistics and senses. The weights kept are those of the best look
    at held-out sessions. Raises TooFewTransitions; Collapsed and LossNotFinite, which hold what was good before;
    ShapeError when `start` has another layout or other sizes."""
    lesson = Lesson.of(experience, config, seed=seed)
    senses = start.anatomy.senses if start is not None else senses_of(experience)
    anatomy = Anatomy(layout=experience.layout, senses=senses, config=config)
    run = _Run(anatomy, lesson, _first_network(anatomy, lesson, start, seed=seed), device=device, name=name)
    total = steps if steps is not None else (0 if seconds is not None else config.steps)
    return run.to_the_end(total, seconds, told)


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


class _Run:
    """One training, from its first step to its last look."""

    def __init__(self, anatomy: Anatomy, lesson: Lesson, network: Network, *, device: str, name: str) -> None:
        self.anatomy = anatomy
        self.lesson = lesson
        self.course = Course(lesson, network, device=device)
        self.name = name
        self.progress: list[Progress] = []
        self.best: dict[str, Tensor] | None = None
        self.best_step = 0
        self.least = math.inf
        self.since = 0
        self.collapsed = 0

    def to_the_end(self, total: int, seconds: float | None, told: Callable[[Progress], None]) -> Fitted:
        began = time.perf_counter()
        number, looks, done = 0, 0, 0.0
        while done < 1 and self.since < self.anatomy.config.patience:
            found = self.course.step(number, done=done)
            self._finite(number, found.total)
            number += 1
            shares = (number / total if total else 0.0, (time.perf_counter() - began) / seconds if seconds else 0.0)
            done = max(shares)
            if done * LOOKS >= looks + 1 or done >= 1:
                looks = int(done * LOOKS)
                told(self._look(number, total, done, found))
        return Fitted(
            model=self._model(self.best),
            progress=tuple(self.progress),
            steps=number,
            elapsed_s=time.perf_counter() - began,
            stopped_early=done < 1,
        )

    def _look(self, number: int, total: int, done: float, found: Losses) -> Progress:
        missed, reason = self.course.look()
        parts = {key: value.item() for key, value in found._asdict().items() if key != "total"}
        progress = Progress(step=number, steps=total, loss=found.total.item(), parts=parts, held_out=missed)
        self.progress.append(progress)
        self.collapsed = self.collapsed + 1 if reason is not None and done >= GRACE else 0
        if reason is not None and (self.collapsed >= COLLAPSED_LOOKS or (done >= 1 and self.best is None)):
            raise Collapsed(
                f"training stopped at step {number}: {reason}. {self._kept()} Try a greater sigreg_weight than "
                f"{self.anatomy.config.sigreg_weight} or fewer latent columns than {self.anatomy.config.latent}",
                reason=reason,
                last_good=self._last_good(),
            )
        if reason is None and missed < self.least:
            self.least, self.since = missed, 0
            self.best_step = number
            self.best = copy.deepcopy(self.course.network.state_dict())
        else:
            self.since += 1
        return progress

    def _finite(self, number: int, loss: Tensor) -> None:
        if torch.isfinite(loss):
            return
        first, last = self.lesson.positions(number)
        where = f"events {first} to {last}" if first >= 0 else "rows that came from no log"
        raise LossNotFinite(
            f"the loss of step {number + 1} is not finite; its batch holds {where}. {self._kept()} Look at what was "
            f"observed and done there, or try a smaller learning_rate than {self.anatomy.config.learning_rate}",
            first_position=first,
            last_position=last,
            last_good=self._last_good(),
        )

    def _kept(self) -> str:
        if self.best is None:
            return "No look at held-out sessions came before it, so no model is kept."
        return f"The model of step {self._best_step()} is intact."

    def _best_step(self) -> int:
        return min(
            (p for p in self.progress if math.isfinite(p.held_out)), key=lambda p: abs(p.held_out - self.least)
        ).step

    def _last_good(self) -> Jepa | None:
        return self._model(self.best) if self.best is not None else None

    def _model(self, weights: dict[str, Tensor] | None) -> Jepa:
        network = copy.deepcopy(self.course.network).to("cpu").eval()
        if weights is not None:
            network.load_state_dict(weights)
        measure(network, self.lesson.held_out)
        return Jepa(self.anatomy, network, name=self.name)
