"""What there is to learn from, and the batch of each step: the same for the same experience, seed and step.

Knows rows; knows no network. Invariant: a sequence never crosses an episode's end, and no session that is held out
is in any batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from world_model.errors import TooFewTransitions
from world_model.experience import Experience
from world_model.jepa.config import JepaConfig
from world_model.jepa.loss import Batch

# N = rows, B = batch, W = rows of a sequence, U = units, E = heads

FEWEST_TRANSITIONS: Final = 200
"""Below it held-out residuals, a tenth of them, are too few to give a variance for each column."""

FEWEST_UNITS: Final = 8
"""Sessions that a bootstrap and a held-out share need; with fewer, episodes stand for sessions, then stretches."""

EVALUATED: Final = 2048
"""Held-out sequences that a look at progress costs: a tenth of a second."""

WHOLE: Final = slice(None)
"""Every sequence of a batch."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """`learnt` and `held_out` share no unit. `draws_NE`: how often each head's bootstrap drew a row's unit."""

    learnt: Experience
    held_out: Experience
    draws_NE: NDArray[np.float32]
    config: JepaConfig
    seed: int

    @classmethod
    def of(cls, experience: Experience, config: JepaConfig, *, seed: int) -> Lesson:
        """Raises TooFewTransitions."""
        found = experience.transitions
        if found < FEWEST_TRANSITIONS:
            raise TooFewTransitions(
                f"there are {found} transitions to learn from; a model needs at least {FEWEST_TRANSITIONS}. Run more "
                f"cycles of this environment, then train again",
                found=found,
                needed=FEWEST_TRANSITIONS,
            )
        learnt, held_out = in_units(experience).split(held_out=config.held_out, seed=seed)
        units, unit_N = np.unique(learnt.session_N, return_inverse=True)
        draws_UE = bootstrap(len(units), config.heads, seed=seed)
        return cls(learnt=learnt, held_out=held_out, draws_NE=draws_UE[unit_N], config=config, seed=seed)

    def rows(self, step: int, share: slice = WHOLE) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The rows of a step's sequences, shape (B, W), drawn evenly from the transitions that are learnt from, and
        which of them are present; of a worker's share of the sequences where there are several."""
        starts = np.flatnonzero(self.learnt.steps_N)
        drawn = np.random.default_rng((self.seed, step, 0xBA7C)).integers(len(starts), size=self.config.batch)
        return self._windows(self.learnt, starts[drawn[share]])

    def batch(self, step: int, share: slice = WHOLE) -> Batch:
        """The sequences of a step, or a share of them."""
        return self._batch(self.learnt, *self.rows(step, share), self.draws_NE)

    def positions(self, step: int) -> tuple[int, int]:
        """First and last log position of the events whose observations the step's batch holds; of those that are not
        finite where there are any."""
        rows_BW, present_BW = self.rows(step)
        rows = np.unique(rows_BW[present_BW])
        finite = np.isfinite(self.learnt.seen_ND[rows]).all(axis=1) & np.isfinite(self.learnt.done_NA[rows]).all(axis=1)
        positions = self.learnt.position_N[rows if finite.all() else rows[~finite]]
        return int(positions.min()), int(positions.max())

    def held_out_batch(self) -> Batch:
        """At most `EVALUATED` held-out sequences, evenly spaced."""
        starts = np.flatnonzero(self.held_out.steps_N)
        chosen = np.unique(np.linspace(0, len(starts) - 1, min(EVALUATED, len(starts))).astype(np.int64))
        once_NE = np.ones((len(self.held_out), self.config.heads), np.float32)
        return self._batch(self.held_out, *self._windows(self.held_out, starts[chosen]), once_NE)

    def _batch(
        self,
        source: Experience,
        rows_BW: NDArray[np.int64],
        present_BW: NDArray[np.bool_],
        weight_NE: NDArray[np.float32],
    ) -> Batch:
        return Batch(
            _tensor(source.seen_ND[rows_BW]),
            _tensor(source.done_NA[rows_BW]),
            torch.from_numpy(present_BW),
            _tensor(weight_NE[rows_BW[:, self.config.history - 1]]),
        )

    def _windows(self, source: Experience, starts_B: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        return windows(source, starts_B, history=self.config.history, ahead=self.config.horizon)


def windows(
    source: Experience, starts_B: NDArray[np.int64], *, history: int, ahead: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The rows around each start, shape (B, W), `history` − 1 before it and `ahead` after it, and which of them are of
    its episode; the start's own row stands for those that are not."""
    starts_B1 = starts_B[:, np.newaxis]
    rows_BW = starts_B1 + np.arange(1 - history, ahead + 1)
    inside_BW = (rows_BW >= 0) & (rows_BW < len(source))
    rows_BW = np.where(inside_BW, rows_BW, starts_B1)
    present_BW = inside_BW & (source.episode_N[rows_BW] == source.episode_N[starts_B1])
    return np.where(present_BW, rows_BW, starts_B1), present_BW


def bootstrap(units: int, heads: int, *, seed: int) -> NDArray[np.float32]:
    """How often each head's resample of the units holds each, shape (U, E).

    Poisson(1) draws, the limit of drawing U of U with replacement (Oza & Russell, *Online bagging and boosting*,
    AISTATS 2001). A head that would have drawn nothing takes each once."""
    draws_UE = np.random.default_rng((seed, 0xB007)).poisson(1.0, size=(units, heads)).astype(np.float32)
    draws_UE[:, draws_UE.sum(axis=0) == 0] = 1.0
    return draws_UE


def in_units(experience: Experience) -> Experience:
    """The same rows, with sessions that are enough to hold some out and to draw from: as they are where there are at
    least `FEWEST_UNITS`, else each episode for itself, else stretches of the rows."""
    if len(np.unique(experience.session_N)) >= FEWEST_UNITS:
        return experience
    _, episode_N = np.unique(experience.episode_N, return_inverse=True)
    if episode_N.max() + 1 < FEWEST_UNITS:
        stretch_N = np.arange(len(experience)) * 2 * FEWEST_UNITS // len(experience)
        _, episode_N = np.unique(np.stack((episode_N, stretch_N)), axis=1, return_inverse=True)
    unit_N = episode_N.astype(np.int64)
    return replace(experience, episode_N=unit_N, session_N=unit_N)


def _tensor(values: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32, copy=False))
