"""The design's levels are the published ones, and its bounds hold for outcomes as they are."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import beta, norm

from runtime.learning.judging.sequential import (
    Design,
    Interval,
    boundaries,
    crossing,
    difference_interval,
    lower_bound,
    lower_bound_apart,
    lower_bounds,
    mean_interval,
    pocock,
    rate_interval,
)
from tests.outcomes import BUDGET, steps

DESIGN = Design()


def test_pocock_type_boundaries_are_those_of_the_published_programs() -> None:
    """Two-sided .05 at five equal steps, as WinLD and R's ldbounds print them (Reboussin, DeMets, Kim & Lan, Controlled
    Clinical Trials 21, 2000)."""
    fractions = [0.2, 0.4, 0.6, 0.8, 1.0]
    found = boundaries(fractions, [pocock(fraction, 0.025) for fraction in fractions])
    assert found == pytest.approx([2.4380, 2.4268, 2.4101, 2.3966, 2.3859], abs=1e-3)


def test_any_spending_gives_the_published_boundaries() -> None:
    """O'Brien–Fleming-type, one-sided .05 at four equal steps, from the README of SeqBounds.jl, which is compared with
    ldbounds."""
    fractions = [0.25, 0.5, 0.75, 1.0]
    spent = [2 * float(norm.sf(norm.isf(0.025) / math.sqrt(fraction))) for fraction in fractions]
    assert boundaries(fractions, spent) == pytest.approx([3.74955, 2.53993, 2.01604, 1.72014], abs=1e-3)


@pytest.mark.parametrize(("looks", "pocock_z", "obrien_fleming_z"), [(2, 2.178, 1.977), (3, 2.289, 2.004)])
def test_the_classical_tests_cross_as_often_as_they_say(looks: int, pocock_z: float, obrien_fleming_z: float) -> None:
    """Constants of Pocock (1977) and O'Brien & Fleming (1979) for two-sided .05, in Jennison & Turnbull (2000), tables
    2.1 and 2.3."""
    fractions = [k / looks for k in range(1, looks + 1)]
    assert crossing([pocock_z] * looks, fractions) == pytest.approx(0.025, abs=1e-4)
    assert crossing([obrien_fleming_z / math.sqrt(t) for t in fractions], fractions) == pytest.approx(0.025, abs=1e-4)


def test_one_look_spends_all_of_alpha() -> None:
    assert Design(looks=(40,)).levels == pytest.approx((0.05,))


def test_levels_are_the_same_each_time() -> None:
    assert Design((40, 80, 160)).levels == DESIGN.levels == pytest.approx((0.01787, 0.01891, 0.02786), abs=1e-4)


def test_looks_that_do_not_rise_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must rise from 1 on; here they are \[80, 40\]"):
        Design(looks=(80, 40))


def test_the_looks_together_cross_with_probability_alpha() -> None:
    rng, runs = np.random.default_rng(1), 40_000
    walks = rng.standard_normal((runs, DESIGN.looks[-1])).cumsum(axis=1)
    crossed = np.zeros(runs, dtype=bool)
    for look, level in zip(DESIGN.looks, DESIGN.levels, strict=True):
        crossed |= walks[:, look - 1] / math.sqrt(look) > norm.isf(level)
    assert crossed.mean() == pytest.approx(DESIGN.alpha, abs=3 * math.sqrt(0.05 * 0.95 / runs))


def test_of_yes_and_no_the_bound_is_clopper_and_pearsons() -> None:
    answers = np.repeat([1.0, 0.0], (30, 10))
    assert lower_bound(answers, least=0, level=0.05, seed=3) == pytest.approx(beta.ppf(0.05, 30, 11), abs=0.003)


def test_what_never_differs_is_not_shown_to_be_better() -> None:
    assert lower_bound(np.zeros(160), least=-BUDGET, level=0.05, seed=0) < 0


def test_a_few_gains_and_no_loss_are_no_proof() -> None:
    """The percentile bootstrap would have it: no resample of these has a mean below 0."""
    assert lower_bound(np.ones(40), least=-BUDGET, level=DESIGN.levels[0], seed=0) < 0


def test_a_bound_is_the_same_each_time() -> None:
    values = np.arange(40)
    assert lower_bound(values, least=-60, level=0.02, seed=5) == lower_bound(values, least=-60, level=0.02, seed=5)


def test_bounds_of_many_samples_are_those_of_each() -> None:
    samples = np.random.default_rng(2).integers(-9, 9, size=(3, 40))
    together = lower_bounds(samples, least=-60, level=0.02, seed=5)
    assert together == pytest.approx([lower_bound(one, least=-60, level=0.02, seed=5) for one in samples])


Draw = Callable[[np.random.Generator, tuple[int, int]], NDArray[np.float64]]

NOTHING_GAINED: dict[str, Draw] = {
    "equal, most fail": lambda rng, of: steps(rng, of, fails=0.6, mean=25) - steps(rng, of, fails=0.6, mean=25),
    "equal, nearly all fail": lambda rng, of: steps(rng, of, fails=0.95, mean=25) - steps(rng, of, fails=0.95, mean=25),
    "equal, few fail": lambda rng, of: steps(rng, of, fails=0.05, mean=10) - steps(rng, of, fails=0.05, mean=10),
    "equal but for one in ten": lambda rng, of: np.where(
        rng.random(of) < 0.1, steps(rng, of, fails=0.2, mean=25) - steps(rng, of, fails=0.2, mean=25), 0.0
    ),
    "faster, but fails one in twenty": lambda rng, of: (
        steps(rng, of, fails=0, mean=9) - steps(rng, of, fails=0.0467, mean=6.5)
    ),
}
"""Steps before minus steps after, where the candidate needs as many on average."""


@pytest.mark.parametrize("name", NOTHING_GAINED)
def test_what_is_no_better_is_seldom_called_better_by_any_look(name: str) -> None:
    rng, runs = np.random.default_rng(4), 1000
    gains = NOTHING_GAINED[name](rng, (runs, DESIGN.looks[-1]))
    called = np.zeros(runs, dtype=bool)
    for look, level in zip(DESIGN.looks, DESIGN.levels, strict=True):
        called |= lower_bounds(gains[:, :look], least=-BUDGET, level=level, seed=look) > 0
    assert called.mean() <= DESIGN.alpha


def test_a_large_gain_is_seen_at_the_first_look() -> None:
    rng, runs = np.random.default_rng(5), 200
    gains = steps(rng, (runs, 40), fails=0.4, mean=25) - steps(rng, (runs, 40), fails=0.0, mean=14)
    seen = lower_bounds(gains, least=-BUDGET, level=DESIGN.levels[0], seed=0) > 0
    assert seen.mean() >= 0.99


def test_samples_apart_are_seldom_called_different_where_they_are_not() -> None:
    rng, runs = np.random.default_rng(6), 80
    called = 0
    for _ in range(runs):
        one, other = steps(rng, (40,), fails=0.3, mean=20), steps(rng, (80,), fails=0.3, mean=20)
        called += lower_bound_apart(other, one, least=0, most=BUDGET, level=0.05, seed=0) > 0
    assert called / runs <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / runs)


def test_samples_apart_are_called_different_where_they_are() -> None:
    rng = np.random.default_rng(7)
    slow, quick = steps(rng, (360,), fails=0.4, mean=25), steps(rng, (40,), fails=0.0, mean=14)
    assert lower_bound_apart(slow, quick, least=0, most=BUDGET, level=DESIGN.levels[0], seed=0) > 10


def test_intervals_hold_their_estimates_and_shrink_to_a_point_where_nothing_varies() -> None:
    spread = mean_interval(np.arange(40), seed=0)
    assert spread.low < spread.value == 19.5 < spread.high
    assert mean_interval([3, 3, 3], seed=0) == Interval(3, 3, 3)
    assert difference_interval([3, 3], [1, 1, 1], seed=0) == Interval(2, 2, 2)
    apart = difference_interval(np.arange(40), np.arange(10), seed=0)
    assert apart.low < apart.value == 15 < apart.high
    assert rate_interval(40, 40).low == pytest.approx(0.912, abs=0.001)
