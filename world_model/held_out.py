"""How well a model foresees what it never learnt from, against the copy and the linear baseline.

Knows predictions and numbers; knows no log. Invariant: every figure is of episodes that neither the model's weights
nor the choice among them have seen, if the caller held them out."""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from telemetry.events.values import ModelId
from world_model.errors import ShapeError
from world_model.experience import Experience, spaced
from world_model.jepa.collapse import effective_rank
from world_model.layout import Layout
from world_model.linear import Prediction
from world_model.plan.forward import Forward

# N = rows, P = sequences, T = steps, D = columns seen, C = columns compared, A = controls, Z = latent, G = outcome

STEPS: Final = 10
"""Decisions foreseen open loop where episodes are long enough."""

MOST: Final = 2048
"""Sequences, or single steps, that figures are taken over: a second of work."""


class Trained(Forward, Protocol):
    """A model that no longer changes: a JEPA or a frozen linear model."""

    layout: Layout
    model_id: ModelId

    def beliefs(self, experience: Experience) -> NDArray[np.float32]:
        """The belief at each row, shape (N, Z)."""
        ...

    def read(self, latent: NDArray[np.floating]) -> NDArray[np.float32]:
        """The flat observation that latents stand for, in its own units, shape (…, D)."""
        ...

    def outcomes(self, experience: Experience) -> NDArray[np.float32]:
        """Where each row is in outcome space, shape (N, G)."""
        ...

    def predict(self, belief_Z: NDArray[np.floating], controls_KA: NDArray[np.floating]) -> Prediction:
        """What is seen next after each of K controls."""
        ...


class Paths(NamedTuple):
    """Sequences as they were lived and as they were foreseen from their first row and what was done alone."""

    starts_P: NDArray[np.int64]
    """Rows of the experience."""
    real_PTD: NDArray[np.float32]
    foreseen_PTD: NDArray[np.float32]
    """After 1 … T decisions, flat observations in their own units."""
    real_PTG: NDArray[np.float32]
    foreseen_PTG: NDArray[np.float32]
    """The same in outcome space."""
    disagreement_PT: NDArray[np.float32]
    """What would be learnt there, in nats."""


def foresee(model: Trained, experience: Experience, starts_P: NDArray[np.int64], *, steps: int) -> Paths:
    """Open loop over `steps` decisions from each of these rows, which must be followed by as many of their episode."""
    ahead_PT = starts_P[:, np.newaxis] + np.arange(1, steps + 1)
    start_PZ = torch.from_numpy(model.beliefs(experience)[starts_P])
    controls_PTA = torch.from_numpy(experience.done_NA[ahead_PT - 1])
    rollout = model.rollout(start_PZ, controls_PTA[:, np.newaxis])
    return Paths(
        starts_P=starts_P,
        real_PTD=experience.seen_ND[ahead_PT],
        foreseen_PTD=model.read(rollout.latent_BNHZ[:, 0].numpy()),
        real_PTG=model.outcomes(experience)[ahead_PT],
        foreseen_PTG=rollout.outcome_BNHG[:, 0].numpy(),
        disagreement_PT=rollout.epistemic_BNH[:, 0].numpy(),
    )


class OneStep(NamedTuple):
    """One decision ahead from each of M rows; the errors are root mean squares over the columns compared."""

    real_M: NDArray[np.float64]
    """How far the prediction was off."""
    predicted_M: NDArray[np.float64]
    """How far it was expected to be off."""
    nats_M: NDArray[np.float64]
    """Surprise per dimension of the whole observation."""


def one_step(model: Trained, experience: Experience, *, most: int = MOST) -> OneStep:
    """Over at most `most` transitions, evenly spaced."""
    begins = spaced(np.flatnonzero(experience.steps_N), most)
    beliefs = model.beliefs(experience)[begins]
    columns, scale_C = compared(experience)
    real, predicted, nats = (np.empty(len(begins)) for _ in range(3))
    for place, (row, belief_Z) in enumerate(zip(begins, beliefs, strict=True)):
        expected = model.predict(belief_Z, experience.done_NA[row][np.newaxis])
        off_D = experience.seen_ND[row + 1] - expected.mean[0]
        variance_D = expected.variance[0]
        real[place] = np.sqrt(np.square(off_D[columns] / scale_C).mean())
        predicted[place] = np.sqrt((variance_D[columns] / np.square(scale_C)).mean())
        nats[place] = 0.5 * (np.log(2 * np.pi * variance_D) + np.square(off_D) / variance_D).mean()
    return OneStep(real, predicted, nats)


def figures(model: Trained, linear: Trained, held_out: Experience) -> dict[str, float]:
    """By name.

    Over `horizon` decisions: the root mean squared `error`, in the goal's units or in deviations of the observation,
    and its share of the copy's and of the linear model's; and the rank correlation of disagreement with it. The
    effective rank of the beliefs, and of as many principal components of the observations. Surprise one decision
    ahead, in nats per dimension, beside the linear model's."""
    ahead = _ahead(held_out)
    foreseen, by_linear = (foresee(each, held_out, ahead.starts_P, steps=ahead.steps) for each in (model, linear))
    errors = [ahead.off(paths.foreseen_PTD[:, -1]) for paths in (foreseen, by_linear)]
    error, least, still = (_root_mean_square(off_P) for off_P in (*errors, ahead.copied()))
    beliefs_NZ = model.beliefs(held_out)
    return {
        "horizon": float(ahead.steps),
        "error": error,
        "error_over_copy": _share(error, still),
        "error_over_linear": _share(error, least),
        "disagreement_spearman": rank_correlation(foreseen.disagreement_PT[:, -1], errors[0]),
        "effective_rank": effective_rank(beliefs_NZ),
        "effective_rank_seen": effective_rank(_standardised(held_out), most=beliefs_NZ.shape[1]),
        "nats": float(one_step(model, held_out).nats_M.mean()),
        "nats_linear": float(one_step(linear, held_out).nats_M.mean()),
    }


def error_over_copy(model: Trained, held_out: Experience) -> float:
    """The figure of this name alone."""
    ahead = _ahead(held_out)
    foreseen = foresee(model, held_out, ahead.starts_P, steps=ahead.steps)
    error_P = ahead.off(foreseen.foreseen_PTD[:, -1])
    return _share(_root_mean_square(error_P), _root_mean_square(ahead.copied()))


class _Ahead(NamedTuple):
    """What is there after `steps` decisions from each of these rows, in the columns compared and their units."""

    held_out: Experience
    starts_P: NDArray[np.int64]
    steps: int
    columns: NDArray[np.int64]
    scale_C: NDArray[np.float32]

    def off(self, foreseen_PD: NDArray[np.float32]) -> NDArray[np.float64]:
        real_PC = self.held_out.seen_ND[self.starts_P + self.steps][:, self.columns] / self.scale_C
        return _off(foreseen_PD[:, self.columns] / self.scale_C, real_PC)

    def copied(self) -> NDArray[np.float64]:
        return self.off(self.held_out.seen_ND[self.starts_P])


def _ahead(held_out: Experience) -> _Ahead:
    """Over at most MOST sequences. Raises ShapeError where nothing moves."""
    steps = longest(held_out, STEPS)
    return _Ahead(held_out, spaced(held_out.starts(steps), MOST), steps, *compared(held_out))


def longest(experience: Experience, most: int) -> int:
    """So many decisions, or as many as an episode of it has."""
    return next(steps for steps in range(most, 0, -1) if steps == 1 or len(experience.starts(steps)))


def compared(experience: Experience) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The columns that errors are taken over, and what divides each: those of the achieved goal in their own units, or,
    where there is none, every column that moves, in its deviations. Raises ShapeError where none does."""
    layout = experience.layout
    if layout.goal:
        return np.arange(layout.width - layout.goal, layout.width), np.ones(layout.goal, dtype=np.float32)
    spread_D = experience.seen_ND.std(axis=0)
    columns = np.flatnonzero(spread_D > 0)
    if not len(columns):
        raise ShapeError("nothing that was observed ever changes, so there is nothing to foresee")
    return columns, spread_D[columns]


def _standardised(experience: Experience) -> NDArray[np.float32]:
    spread_D = experience.seen_ND.std(axis=0)
    moving = experience.seen_ND[:, spread_D > 0]
    standard: NDArray[np.float32] = (moving - moving.mean(axis=0)) / spread_D[spread_D > 0]
    return standard


def _root_mean_square(off_P: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.square(off_P).mean()))


def _off(foreseen_PC: NDArray[np.float32], real_PC: NDArray[np.float32]) -> NDArray[np.float64]:
    difference_PC = foreseen_PC.astype(np.float64) - real_PC
    off_P: NDArray[np.float64] = np.sqrt(np.square(difference_PC).mean(axis=1))
    return off_P


def _share(error: float, of: float) -> float:
    return error / of if of > 0 else float(error > 0)


def rank_correlation(first_P: NDArray[np.floating], second_P: NDArray[np.floating]) -> float:
    """Spearman's, 0 where one of them is constant."""
    if len(first_P) < 2 or np.ptp(first_P) == 0 or np.ptp(second_P) == 0:
        return 0.0
    return float(spearmanr(first_P, second_P).statistic)
