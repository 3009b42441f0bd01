"""Training: the steps of a lesson, one after the other, and the looks at held-out sessions between them.

Knows when to stop; the maths of a step is `course`'s, which another trainer can drive. Invariant: equal experience,
configuration, steps and seed give equal bits on one machine."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import torch
from torch import Tensor

from world_model.errors import Collapsed, LossNotFinite, ShapeError
from world_model.experience import Experience
from world_model.jepa.calibrate import measure, put_on_one_scale
from world_model.jepa.config import JepaConfig
from world_model.jepa.course import Joint, Settling, look
from world_model.jepa.lesson import Lesson
from world_model.jepa.loss import Losses
from world_model.jepa.model import Anatomy, Jepa
from world_model.jepa.network import Network
from world_model.jepa.senses import senses_of

LOOKS: Final = 20
"""Looks at held-out sessions in a stage of training."""

GRACE: Final = 0.25
"""Share of a stage after which collapse counts: SIGReg first has to spread what a random encoder does not."""

GRACE_STEPS: Final = 200
"""Steps after which it counts, however short the training."""

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


Stop = Callable[[int], bool]
"""Is asked with the number of steps that are done whether they are enough."""


class Step(Protocol):
    def __call__(self, number: int, /, *, done: float) -> Losses: ...


class Budget:
    """What a training may take: a number of steps, a time, or both, whichever ends first, or until `stop` says so."""

    def __init__(self, steps: int, seconds: float | None, stop: Stop) -> None:
        self.steps = steps
        self._seconds = seconds
        self._stop = stop
        self._began = time.perf_counter()

    @property
    def elapsed_s(self) -> float:
        return time.perf_counter() - self._began

    def spent(self, step: int) -> float:
        """The share that is gone after `step` steps, from 0."""
        if self._stop(step):
            return 1.0
        by_steps = step / self.steps if self.steps else 0.0
        return max(by_steps, self.elapsed_s / self._seconds) if self._seconds else by_steps

    def from_here(self, step: int, share: float) -> Callable[[int], float]:
        """How much of a stage that begins now and takes `share` of all is done after a number of steps."""
        before = self.spent(step)

        def done(number: int) -> float:
            spent = self.spent(number)
            return 1.0 if spent >= 1 else (spent - before) / share

        return done


def untold(progress: Progress) -> None:
    """Nobody listens."""


def never(step: int) -> bool:
    """Nobody ends it."""
    return False


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
    lesson = Lesson.of(experience, config, seed=seed)
    senses = start.anatomy.senses if start is not None else senses_of(experience)
    anatomy = Anatomy(layout=experience.layout, senses=senses, config=config)
    run = _Run(anatomy, lesson, _first_network(anatomy, lesson, start, seed=seed), device=device, name=name)
    total = steps if steps is not None else (0 if seconds is not None else config.steps)
    budget = Budget(total, seconds, stop)
    return run.to_the_end(budget, told)


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
        self.network = network.to(device)
        self.device = device
        self.name = name
        self.number = 0
        self.progress: list[Progress] = []
        self.best: dict[str, Tensor] | None = None
        self.best_step = 0
        self.least = math.inf

    def to_the_end(self, budget: Budget, told: Callable[[Progress], None]) -> Fitted:
        share = 1 - self.anatomy.config.settling
        joint = Joint(self.lesson, self.network, device=self.device)
        whole = self._stage(joint.step, budget.from_here(0, share), budget, told)
        if self.best is not None:
            self.network.load_state_dict(self.best)
        if share < 1:
            settling = Settling(self.lesson, self.network, device=self.device)
            whole &= self._stage(settling.step, budget.from_here(self.number, 1 - share), budget, told)
        return Fitted(
            model=self._model(self.best),
            progress=tuple(self.progress),
            steps=self.number,
            elapsed_s=budget.elapsed_s,
            stopped_early=not whole,
        )

    def _stage(
        self, step: Step, done: Callable[[int], float], budget: Budget, told: Callable[[Progress], None]
    ) -> bool:
        """Steps until the stage is done, or its looks at held-out sessions bring no gain; whether it was done."""
        looks, since, narrow, now = 0, 0, 0, done(self.number)
        while now < 1 and since < self.anatomy.config.patience:
            found = step(self.number, done=now)
            self._finite(found.total)
            self.number += 1
            now = done(self.number)
            if now * LOOKS < looks + 1 and now < 1:
                continue
            looks = int(now * LOOKS)
            gained, reason = self._look(found, budget, told)
            since = 0 if gained or reason is not None else since + 1
            narrow = narrow + 1 if reason is not None and now >= GRACE and self.number >= GRACE_STEPS else 0
            if reason is not None and (narrow >= COLLAPSED_LOOKS or (now >= 1 and self.best is None)):
                raise self._collapsed(reason)
        return now >= 1

    def _look(self, found: Losses, budget: Budget, told: Callable[[Progress], None]) -> tuple[bool, str | None]:
        missed, reason = look(self.lesson, self.network, device=self.device)
        parts = {key: value.item() for key, value in found._asdict().items() if key != "total"}
        progress = Progress(self.number, budget.steps, found.total.item(), parts, held_out=missed)
        self.progress.append(progress)
        told(progress)
        if reason is not None or not missed < self.least:
            return False, reason
        self.least, self.best_step = missed, self.number
        self.best = copy.deepcopy(self.network.state_dict())
        return True, None

    def _collapsed(self, reason: str) -> Collapsed:
        config = self.anatomy.config
        return Collapsed(
            f"training stopped at step {self.number}: {reason}. {self._kept()} Try a greater sigreg_weight than "
            f"{config.sigreg_weight} or fewer latent columns than {config.latent}",
            reason=reason,
            last_good=self._last_good(),
        )

    def _finite(self, loss: Tensor) -> None:
        if torch.isfinite(loss):
            return
        first, last = self.lesson.positions(self.number)
        where = f"events {first} to {last}" if first >= 0 else "rows that came from no log"
        raise LossNotFinite(
            f"the loss of step {self.number + 1} is not finite; its batch holds {where}. {self._kept()} Look at what "
            f"was observed and done there, or try a smaller learning_rate than {self.anatomy.config.learning_rate}",
            first_position=first,
            last_position=last,
            last_good=self._last_good(),
        )

    def _kept(self) -> str:
        if self.best is None:
            return "No look at held-out sessions came before it, so no model is kept."
        return f"The model of step {self.best_step} is intact."

    def _last_good(self) -> Jepa | None:
        return self._model(self.best) if self.best is not None else None

    def _model(self, weights: dict[str, Tensor] | None) -> Jepa:
        network = copy.deepcopy(self.network).to("cpu").eval()
        if weights is not None:
            network.load_state_dict(weights)
        measure(network, self.lesson.held_out)
        return Jepa(self.anatomy, network, name=self.name)
