"""Whether one mean is below another, asked several times while the trials come in.

Knows samples, levels and looks; knows no session and no model. Invariant: what is not better is called better by all
the looks of a design together with probability `alpha` at most, however its outcomes are distributed between their
bounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq
from scipy.stats import binomtest, bootstrap, multivariate_normal, norm

# n, N = trials, R = draws, S = samples

DRAWS = 20_000
"""Resamples of a bound: the tail at the first look's level of .018 is then known to within .001."""

NORMAL_EPS, NORMAL_POINTS, Z_EPS = 1e-6, 200_000, 1e-6
"""Of the joint normal distribution and of the boundaries: with both they agree with published tables to 3e-4."""

CONFIDENCE = 0.95
"""Of the intervals that are shown; what decides is a bound at the look's own level."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Design:
    """Looks at given numbers of trials, and the probability that all of them together may call something better that
    is not. Raises ValueError for looks that do not rise."""

    looks: tuple[int, ...] = (40, 80, 160)
    alpha: float = 0.05

    def __post_init__(self) -> None:
        if not self.looks or self.looks[0] < 1 or any(later <= earlier for earlier, later in pairwise(self.looks)):
            raise ValueError(f"looks must rise from 1 on; here they are {list(self.looks)}")

    @property
    def levels(self) -> tuple[float, ...]:
        """The one-sided level of each look by itself, such that they spend `alpha` together as `pocock` says."""
        return _levels(self.looks, self.alpha)

    def level(self, look: int) -> float:
        return self.levels[self.looks.index(look)]


@cache
def _levels(looks: tuple[int, ...], alpha: float) -> tuple[float, ...]:
    fractions = [look / looks[-1] for look in looks]
    bounds = boundaries(fractions, [pocock(fraction, alpha) for fraction in fractions])
    return tuple(float(norm.sf(bound)) for bound in bounds)


def pocock(fraction: float, alpha: float) -> float:
    """What is spent of `alpha` after this fraction of all trials: α ln(1 + (e − 1) t), near Pocock's equal levels (Lan
    & DeMets, *Discrete sequential boundaries for clinical trials*, Biometrika 70, 1983). Their other function, after
    O'Brien & Fleming, would leave .00009 for a look at a quarter: no resampling knows such a tail, and no gain, however
    large, would be seen before half of the trials."""
    return alpha * math.log1p((math.e - 1) * fraction)


def boundaries(fractions: Sequence[float], spent: Sequence[float]) -> tuple[float, ...]:
    """The z of each look that is crossed for the first time there with the probability that is newly spent, if nothing
    is better: the statistics of looks at information t ≤ u are joint normal with correlation √(t/u) (Jennison &
    Turnbull, *Group Sequential Methods*, 2000, section 3.1). `fractions` and `spent` rise."""
    found: list[float] = []
    for k, target in enumerate(spent):
        times = fractions[: k + 1]

        def over(z: float, times: Sequence[float] = times, target: float = target) -> float:
            return crossing((*found, z), times) - target

        found.append(float(brentq(over, 0.0, 10.0, xtol=Z_EPS)))
    return tuple(found)


def crossing(bounds: Sequence[float], fractions: Sequence[float]) -> float:
    """The probability that nothing better crosses one of `bounds` from below; the same each time it is asked."""
    if len(bounds) == 1:
        return float(norm.sf(bounds[0]))
    times = np.asarray(fractions)
    together = np.sqrt(np.minimum.outer(times, times) / np.maximum.outer(times, times))
    below = multivariate_normal.cdf(
        np.asarray(bounds),
        cov=together,
        maxpts=NORMAL_POINTS,
        abseps=NORMAL_EPS,
        releps=NORMAL_EPS,
        rng=np.random.default_rng(0),
    )
    return 1.0 - float(below)


def lower_bound(values: ArrayLike, *, least: float, level: float, seed: int) -> float:
    """Below the mean of what `values`, shape (n,), are a sample of, but for a probability of `level`; never below
    `least`, which no value can be under.

    The `level` quantile of the mean under weights that are uniform on the simplex, which is the Bayesian bootstrap
    (Rubin, Annals of Statistics 9, 1981), over the values *and one more that came out worst*. Gaffke (*Three test
    statistics for a nonparametric one-sided hypothesis on the mean of a nonnegative variable*, 2005) and Learned-Miller
    & Thomas (arXiv:1905.06208, 2019) propose it and conjecture that it holds for every bounded distribution and every
    n; for yes and no it is Clopper and Pearson's. Without the worst one, what has not been seen yet is taken to be
    impossible: docs/design/0025 has what that costs."""
    return float(lower_bounds(np.atleast_2d(np.asarray(values)), least=least, level=level, seed=seed)[0])


def lower_bounds(values_SN: ArrayLike, *, least: float, level: float, seed: int) -> Numbers:
    """As `lower_bound`, for each of S samples of one size, shape (S,)."""
    return _quantile(_means(values_SN, worst=least, seed=seed), level)


def lower_bound_apart(
    first: ArrayLike, second: ArrayLike, *, least: float, most: float, level: float, seed: int
) -> float:
    """As `lower_bound`, of the mean of `first` minus that of `second`, which are samples of different trials, all of
    them from `least` to `most`."""
    higher = _means(np.atleast_2d(np.asarray(first)), worst=least, seed=seed)
    lower = _means(np.atleast_2d(np.asarray(second)), worst=most, seed=seed + 1)
    return float(_quantile(higher - lower, level)[0])


def _means(values_SN: ArrayLike, *, worst: float, seed: int) -> Numbers:
    """Means of each sample and `worst` under `DRAWS` weightings, each uniform on the simplex, shape (DRAWS, S)."""
    sample_SN = np.asarray(values_SN, dtype=np.float64)
    weights_RN = np.random.default_rng(seed).standard_exponential((DRAWS, sample_SN.shape[1] + 1))
    weights_RN /= weights_RN.sum(axis=1, keepdims=True)
    means: Numbers = weights_RN[:, :-1] @ sample_SN.T + worst * weights_RN[:, -1:]
    return means


def _quantile(draws_RS: Numbers, level: float) -> Numbers:
    found: Numbers = np.quantile(draws_RS, level, axis=0, method="lower")
    return found


class Interval(NamedTuple):
    """An estimate in its interval of 95 %."""

    value: float
    low: float
    high: float


def mean_interval(values: ArrayLike, *, seed: int) -> Interval:
    """The mean of n ≥ 1 values, by the percentile bootstrap."""
    sample = np.asarray(values, dtype=np.float64)
    mean = float(sample.mean())
    if np.ptp(sample) == 0:
        return Interval(mean, mean, mean)
    return resampled((sample,), np.mean, value=mean, seed=seed)


def difference_interval(first: ArrayLike, second: ArrayLike, *, seed: int) -> Interval:
    """The mean of `first` minus that of `second`, samples of different trials, by the percentile bootstrap."""
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    difference = float(one.mean() - other.mean())
    if np.ptp(one) == 0 and np.ptp(other) == 0:
        return Interval(difference, difference, difference)
    return resampled(
        (one, other), lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis), value=difference, seed=seed
    )


def resampled(
    samples: Sequence[Numbers], statistic: Callable[..., Numbers], *, value: float, seed: int, paired: bool = False
) -> Interval:
    """`value` of a statistic of samples that are not all alike, by the percentile bootstrap; `paired` resamples them
    together. `statistic` takes the samples and an `axis`."""
    found = bootstrap(
        tuple(samples),
        statistic,
        paired=paired,
        method="percentile",
        confidence_level=CONFIDENCE,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(value, float(found.low), float(found.high))


def rate_interval(successes: int, trials: int) -> Interval:
    """Wilson's."""
    found = binomtest(successes, trials).proportion_ci(confidence_level=CONFIDENCE, method="wilson")
    return Interval(successes / trials, float(found.low), float(found.high))
