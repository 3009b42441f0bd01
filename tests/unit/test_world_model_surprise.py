"""Surprise in units, in nats, and among recent ones."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from world_model.errors import ShapeError
from world_model.surprise import NOTHING_TO_COMPARE, percentile, surprise

FINITE = st.floats(-1e6, 1e6)


def test_nats_are_the_negative_log_density_of_a_diagonal_gaussian_per_dimension() -> None:
    mean, variance, seen = np.array([1.0, -2.0, 0.5]), np.array([0.5, 4.0, 0.01]), np.array([1.5, 1.0, 0.4])
    density = math.prod(
        math.exp(-((s - m) ** 2) / (2 * v)) / math.sqrt(2 * math.pi * v)
        for m, v, s in zip(mean, variance, seen, strict=True)
    )
    found = surprise(mean, variance, seen)
    assert found.nats == pytest.approx(-math.log(density) / 3, rel=1e-12)
    assert found.error == pytest.approx(math.sqrt((0.25 + 9.0 + 0.01) / 3), rel=1e-12)


def test_repeating_every_dimension_changes_neither_figure() -> None:
    mean, variance, seen = np.array([0.0, 1.0]), np.array([1.0, 2.0]), np.array([0.3, -1.0])
    once, twice = surprise(mean, variance, seen), surprise(*(np.tile(v, 2) for v in (mean, variance, seen)))
    assert (twice.error, twice.nats) == pytest.approx((once.error, once.nats))


@pytest.mark.parametrize("shapes", [((2,), (2,), (3,)), ((2,), (1,), (2,)), ((0,), (0,), (0,))])
def test_shapes_that_differ_or_hold_nothing_are_refused(shapes: tuple[tuple[int], ...]) -> None:
    with pytest.raises(ShapeError):
        surprise(*(np.ones(shape) for shape in shapes))


def test_shape_error_is_a_value_error() -> None:
    assert issubclass(ShapeError, ValueError)


def test_the_first_surprise_is_neither_calm_nor_remarkable() -> None:
    assert percentile(7.0, []) == NOTHING_TO_COMPARE == 0.5


@given(nats=FINITE, recent=st.lists(FINITE, min_size=1))
def test_percentile_is_the_share_of_recent_ones_not_above(nats: float, recent: list[float]) -> None:
    assert percentile(nats, recent) == float(np.mean(np.asarray(recent) <= nats))


@given(low=FINITE, high=FINITE, recent=st.lists(FINITE))
def test_a_greater_surprise_never_has_a_lower_percentile(low: float, high: float, recent: list[float]) -> None:
    low, high = min(low, high), max(low, high)
    assert 0 <= percentile(low, recent) <= percentile(high, recent) <= 1
