"""Rates and differences with their intervals. Knows numbers; knows nothing of what was measured.

Invariant: every interval is of 95 % and holds its own estimate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

NORMAL_95 = 1.959963984540054
"""97.5 % quantile of the standard normal."""

DRAWS = 10_000
"""Resamples of a bootstrap: the ends of the interval move by less than .002 from one seed to another (n = 300)."""


class Estimate(NamedTuple):
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def rate(succeeded: ArrayLike) -> Estimate:
    """Share of the trials that succeeded, shape (n,) with n ≥ 1, with Wilson's score interval (Wilson, *Probable
    inference, the law of succession, and statistical inference*, JASA 22, 1927)."""
    trials = np.asarray(succeeded, dtype=np.float64)
    n, share = len(trials), float(trials.mean())
    square = NORMAL_95**2
    centre = (share + square / (2 * n)) / (1 + square / n)
    reach = NORMAL_95 / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    return Estimate(share, min(share, max(0.0, centre - reach)), max(share, min(1.0, centre + reach)))


def paired_difference(ours: ArrayLike, theirs: ArrayLike, *, seed: int = 0) -> Estimate:
    """Mean of `ours` − `theirs`, both of shape (n,) and of the same trials in the same order; percentile bootstrap over
    the trials (Efron & Tibshirani, *An Introduction to the Bootstrap*, ch. 13)."""
    differences = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    return _bootstrap(differences, lambda resampled: float(resampled.mean()), seed=seed)


def ratio(ours: ArrayLike, theirs: ArrayLike, *, seed: int = 0) -> Estimate:
    """Rate of `ours` over that of `theirs`, both of shape (n,) and of the same trials in the same order; percentile
    bootstrap over the trials. Theirs counts as one success at least, so that every resample has a ratio."""
    pairs_N2 = np.stack([np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)], axis=1)
    return _bootstrap(pairs_N2, _over, seed=seed)


def _over(pairs_N2: NDArray[np.float64]) -> float:
    ours, theirs = pairs_N2.sum(axis=0)
    return float(ours / max(1.0, theirs))


def _bootstrap(
    trials: NDArray[np.float64], statistic: Callable[[NDArray[np.float64]], float], *, seed: int
) -> Estimate:
    rng, n = np.random.default_rng(seed), len(trials)
    value = statistic(trials)
    low, high = np.quantile([statistic(trials[rng.integers(n, size=n)]) for _ in range(DRAWS)], (0.025, 0.975))
    return Estimate(value, min(value, float(low)), max(value, float(high)))
