"""One training: its steps, the looks at held-out sessions between them, and when it ends.

Knows the order of things; the maths of a step is `course`'s, and who asks for the next step is the caller's. Invariant:
equal experience, configuration, budget of steps and seed give equal bits on one machine, in one process or, by
`state`, in several one after the other."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from world_model.errors import Collapsed, LossNotFinite, ShapeError
from world_model.jepa.calibrate import measure
from world_model.jepa.course import Joint, Settling, look
from world_model.jepa.crew import ALONE, Crew
from world_model.jepa.lesson import Lesson
from world_model.jepa.loss import Losses
from world_model.jepa.model import Anatomy, Jepa
from world_model.jepa.network import Network
from world_model.jepa.state import Place, Progress, State

LOOKS: Final = 20
"""Looks at held-out sessions in a stage of training."""

GRACE: Final = 0.25
"""Share of a stage after which collapse counts: SIGReg first has to spread what a random encoder does not."""

GRACE_STEPS: Final = 200
"""Steps after which it counts, however short the training."""

COLLAPSED_LOOKS: Final = 2
"""Looks in a row that must find it: a column may pass through a narrow place."""


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


def untold(progress: Progress) -> None:
    """Nobody listens."""


def never(step: int) -> bool:
    """Nobody ends it."""
    return False


class Budget:
    """What a training may take: a number of steps, a time, or both, whichever ends first, or until `stop` says so."""

    def __init__(self, steps: int, seconds: float | None, stop: Stop = never) -> None:
        self.steps = steps
        self._seconds = seconds
        self._stop = stop
        self._began = time.perf_counter()

    @property
    def elapsed_s(self) -> float:
        return time.perf_counter() - self._began

    def taken(self, elapsed_s: float) -> None:
        """What an earlier process took counts, and nothing since then but what comes now."""
        self._began = time.perf_counter() - elapsed_s

    def spent(self, step: int) -> float:
        """The share that is gone after `step` steps, from 0."""
        if self._stop(step):
            return 1.0
        by_steps = step / self.steps if self.steps else 0.0
        return max(by_steps, self.elapsed_s / self._seconds) if self._seconds else by_steps


class Training:
    """One training, from its first step to its last look.

    While it has not `ended`, `advance` takes the next step. `told` hears of every look. Workers of a crew make equal
    calls; the first one's budget and looks decide for all."""

    def __init__(
        self,
        lesson: Lesson,
        network: Network,
        anatomy: Anatomy,
        budget: Budget,
        *,
        told: Callable[[Progress], None] = untold,
        device: str = "cpu",
        name: str = "jepa",
        crew: Crew = ALONE,
        state: State | None = None,
    ) -> None:
        """`state`: where an earlier one stood whose lesson, anatomy, budget and number of workers were the same. Raises
        ShapeError where it was of another anatomy, or the workers cannot share a batch evenly."""
        self._lesson = lesson
        self._anatomy = anatomy
        self._budget = budget
        self._told = told
        self._device = device
        self._name = name
        self._crew = crew
        self._network = network.to(device)
        self._best: dict[str, Tensor] | None = None
        self._course: Joint | Settling | None = None
        self._place = Place()
        if state is None:
            self._enter_joint()
        else:
            self._restore(state)

    @property
    def ended(self) -> bool:
        return self._place.stage == "ended"

    @property
    def number(self) -> int:
        """Steps that are done."""
        return self._place.number

    @property
    def progress(self) -> tuple[Progress, ...]:
        return tuple(self._place.progress)

    def state(self) -> State:
        """All of it, as it stands between two steps."""
        self._place.elapsed_s = self._budget.elapsed_s
        optimiser = self._course.learner.optimiser if self._course is not None else None
        return State.of(self._place, self._network, self._best, optimiser)

    def advance(self) -> bool:
        """One step, and a look after it where one is due; whether it was.

        Raises Collapsed and LossNotFinite, which hold what was good before; there is no next step then."""
        place, course = self._place, self._course
        assert course is not None, "a training that has ended has no next step"
        found = course.step(place.number, done=place.done)
        self._finite(found.total)
        place.number += 1
        place.done = self._done()
        due = place.done * LOOKS >= place.looks + 1 or place.done >= 1
        if due:
            self._look(found)
        if place.done >= 1 or place.since >= self._anatomy.config.patience:
            self._leave()
        return due

    def fitted(self) -> Fitted:
        """The model of the best look, or of the weights as they are where none was good."""
        return Fitted(
            model=self._model(),
            progress=self.progress,
            steps=self.number,
            elapsed_s=self._budget.elapsed_s,
            stopped_early=not self._place.whole,
        )

    def _restore(self, state: State) -> None:
        own, there = (
            {k: tuple(v.shape) for k, v in w.items()} for w in (self._network.state_dict(), state.of_network())
        )
        if own != there:
            raise ShapeError(
                "the state is of a training of another anatomy: its tensors have other names or shapes. It is intact. "
                "Go on with the configuration that it was made with, or train anew in another place"
            )
        self._place = replace(state.place, progress=list(state.place.progress))
        self._network.load_state_dict(state.of_network())
        best = state.of_best()
        self._best = None if best is None else {name: tensor.to(self._device) for name, tensor in best.items()}
        if not self.ended:
            kind = Joint if self._place.stage == "joint" else Settling
            self._course = kind(self._lesson, self._network, device=self._device, crew=self._crew)
            state.put_moments(self._course.learner.optimiser)
        self._budget.taken(state.place.elapsed_s)

    def _enter_joint(self) -> None:
        self._course = Joint(self._lesson, self._network, device=self._device, crew=self._crew)
        self._begin()

    def _enter_settling(self) -> None:
        self._place.stage = "settling"
        self._course = Settling(self._lesson, self._network, device=self._device, crew=self._crew)
        self._begin()

    def _begin(self) -> None:
        """A stage whose time is over before its first step is left at once."""
        place = self._place
        place.looks = place.since = place.narrow = 0
        place.before, place.done = 0.0, 0.0
        (place.before,) = self._crew.agreed(self._budget.spent(place.number))
        place.done = self._done()
        if place.done >= 1:
            self._leave()

    def _leave(self) -> None:
        place = self._place
        place.whole &= place.done >= 1
        self._course = None
        if self._best is not None:
            self._network.load_state_dict(self._best)
        if place.stage == "joint" and self._anatomy.config.settling > 0:
            self._enter_settling()
        else:
            place.stage = "ended"

    def _done(self) -> float:
        """The share of the stage that is done, as the first worker has it."""
        place, joint = self._place, 1 - self._anatomy.config.settling
        (spent,) = self._crew.agreed(self._budget.spent(place.number))
        return 1.0 if spent >= 1 else (spent - place.before) / (joint if place.stage == "joint" else 1 - joint)

    def _look(self, found: Losses) -> None:
        """Looks at held-out sessions, keeps what is best so far. Raises Collapsed."""
        place = self._place
        place.looks = int(place.done * LOOKS)
        missed, reason = look(self._lesson, self._network, device=self._device)
        missed, narrow = self._crew.agreed(missed, float(reason is not None))
        parts = {key: value.item() for key, value in found._asdict().items() if key != "total"}
        progress = Progress(place.number, self._budget.steps, found.total.item(), parts, held_out=missed)
        place.progress.append(progress)
        self._told(progress)
        gained = not narrow and missed < place.least
        if gained:
            place.least, place.best_step = missed, place.number
            self._best = copy.deepcopy(self._network.state_dict())
        place.since = 0 if gained or narrow else place.since + 1
        counts = bool(narrow) and place.done >= GRACE and place.number >= GRACE_STEPS
        place.narrow = place.narrow + 1 if counts else 0
        if narrow and (place.narrow >= COLLAPSED_LOOKS or (place.done >= 1 and self._best is None)):
            raise self._collapsed(reason or "another worker found its latents narrow")

    def _collapsed(self, reason: str) -> Collapsed:
        config = self._anatomy.config
        return Collapsed(
            f"training stopped at step {self.number}: {reason}. {self._kept()} Try a greater sigreg_weight than "
            f"{config.sigreg_weight} or fewer latent columns than {config.latent}",
            reason=reason,
            last_good=self._last_good(),
        )

    def _finite(self, loss: Tensor) -> None:
        if torch.isfinite(loss):
            return
        first, last = self._lesson.positions(self.number)
        where = f"events {first} to {last}" if first >= 0 else "rows that came from no log"
        raise LossNotFinite(
            f"the loss of step {self.number + 1} is not finite; its batch holds {where}. {self._kept()} Look at what "
            f"was observed and done there, or try a smaller learning_rate than {self._anatomy.config.learning_rate}",
            first_position=first,
            last_position=last,
            last_good=self._last_good(),
        )

    def _kept(self) -> str:
        if self._best is None:
            return "No look at held-out sessions came before it, so no model is kept."
        return f"The model of step {self._place.best_step} is intact."

    def _last_good(self) -> Jepa | None:
        return self._model() if self._best is not None else None

    def _model(self) -> Jepa:
        network = copy.deepcopy(self._network).to("cpu").eval()
        if self._best is not None:
            network.load_state_dict(self._best)
        measure(network, self._lesson.held_out)
        return Jepa(self._anatomy, network, name=self._name)
