"""Recursive least squares is ridge regression, one transition at a time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from world_model.linear import PRIOR_COUNT, PRIOR_VARIANCE, VARIANCE_FLOOR, LinearModel

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


@st.composite
def transitions(draw: st.DrawFn) -> Arrays:
    """x of shape (n, D), u of shape (n, A), y of shape (n, D)."""
    n, d, a = draw(st.integers(1, 60)), draw(st.integers(1, 6)), draw(st.integers(0, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = draw(st.sampled_from([0.01, 1.0, 100.0]))
    x, u, noise = (rng.normal(size=(n, w)) * scale for w in (d, a, d))
    if draw(st.booleans()):
        x[:, 0] = 1.0  # as constant as the bias: only the ridge tells them apart
    return x, u, x + 0.5 * x[:, ::-1] + noise


def learnt(data: Arrays, *, ridge: float) -> LinearModel:
    x, u, y = data
    model = LinearModel(x.shape[1], u.shape[1], ridge=ridge)
    for row in zip(x, u, y, strict=True):
        model.learn(*row)
    return model


def closed_form(data: Arrays, at: np.ndarray, *, ridge: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Ridge regression of y − x on [1, x, u]: its value at the feature `at`, its residual variance, and φᵀPφ."""
    x, u, y = data
    features = np.column_stack([np.ones(len(x)), x, u])
    # Least squares over the rows and the ridge's own rows, by QR, never by the normal equations.
    stacked = np.vstack([features, np.sqrt(ridge) * np.eye(features.shape[1])])
    targets = np.vstack([y - x, np.zeros((features.shape[1], x.shape[1]))])
    weights = np.linalg.lstsq(stacked, targets, rcond=None)[0]
    r = np.linalg.qr(stacked).R
    leverage = float(np.square(np.linalg.solve(r.T, at)).sum())
    # The minimum of the penalised cost is the sum of squared innovations, each over its own 1 + φᵀPφ.
    cost = np.square(targets - stacked @ weights).sum(axis=0)
    hat = np.square(np.linalg.solve(r.T, features.T)).sum()  # its trace is the effective number of parameters
    variance = (PRIOR_COUNT * PRIOR_VARIANCE + cost) / (PRIOR_COUNT + len(x) - hat)
    return at @ weights, np.maximum(variance, VARIANCE_FLOOR), leverage


def same(data: Arrays, *, ridge: float, tolerance: float) -> None:
    model = learnt(data, ridge=ridge)
    x, u, _ = data
    at_x, at_u = x.mean(axis=0) + x.std(), u[-1]
    change, residual, leverage = closed_form(data, np.concatenate(([1.0], at_x, at_u)), ridge=ridge)
    prediction = model.predict(at_x, at_u)
    scale = max(1.0, float(np.abs(data[2]).max()))
    assert prediction.mean == pytest.approx(at_x + change, abs=tolerance * scale)
    assert prediction.variance == pytest.approx(residual * (1 + leverage), rel=1e-6)
    mean_feature = np.concatenate(([1.0], x.mean(axis=0), u.mean(axis=0)))
    _, _, at_mean = closed_form(data, mean_feature, ridge=ridge)
    assert model.spread == pytest.approx(np.sqrt(residual.mean() * (1 + at_mean)), rel=1e-6)


@settings(max_examples=150, deadline=None)
@given(data=transitions(), ridge=st.sampled_from([0.01, 1.0, 10.0]))
def test_after_n_transitions_the_model_is_the_ridge_regression_over_them(data: Arrays, ridge: float) -> None:
    same(data, ridge=ridge, tolerance=1e-8)


def test_the_law_still_holds_after_100_000_transitions() -> None:
    rng = np.random.default_rng(7)
    x, u = rng.normal(size=(100_000, 5)) * 10, rng.normal(size=(100_000, 2))
    x[:, 1] = x[:, 0] + 1e-3 * x[:, 1]  # nearly collinear, where a plain P loses its symmetry and its sign
    y = x + x @ rng.normal(size=(5, 5)) * 0.1 + u @ rng.normal(size=(2, 5)) + rng.normal(size=(100_000, 5))
    same((x, u, y), ridge=1.0, tolerance=1e-8)


@settings(max_examples=50, deadline=None)
@given(data=transitions(), seed=st.integers(0, 2**32 - 1))
def test_the_order_of_transitions_does_not_matter(data: Arrays, seed: int) -> None:
    x, u, y = data
    order = np.random.default_rng(seed).permutation(len(x))
    one, other = learnt(data, ridge=1.0), learnt((x[order], u[order], y[order]), ridge=1.0)
    scale = max(1.0, float(np.abs(y).max()))
    assert one.predict(x[0], u[0]).mean == pytest.approx(other.predict(x[0], u[0]).mean, abs=1e-8 * scale)
    assert one.spread == pytest.approx(other.spread, rel=1e-6)


@settings(max_examples=50, deadline=None)
@given(data=transitions())
def test_a_transition_never_makes_a_place_less_known(data: Arrays) -> None:
    x, u, y = data
    model = LinearModel(x.shape[1], u.shape[1])
    for row in zip(x, u, y, strict=True):
        before = model.predict(x[0], u[0]).variance / model.predict(np.zeros(x.shape[1]), np.zeros(u.shape[1])).variance
        model.learn(*row)
        assert np.isfinite(before).all()
        assert (model.predict(x[0], u[0]).variance > 0).all()
