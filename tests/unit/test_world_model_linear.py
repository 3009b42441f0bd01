"""The linear baseline on small worlds whose answer is known."""

import math

import numpy as np
import pytest

from world_model.errors import ShapeError
from world_model.linear import MAX_FEATURES, PRIOR_COUNT, VARIANCE_FLOOR, LinearModel
from world_model.surprise import surprise

D, A = 4, 2


def taught(n: int, *, noise: float, seed: int = 0, forgetting: float = 1.0) -> tuple[LinearModel, np.ndarray]:
    """A model that has learnt `n` transitions of a linear world, and that world's matrix, shape (D, 1 + D + A)."""
    rng = np.random.default_rng(seed)
    world = rng.normal(size=(D, 1 + D + A)) * 0.3
    model = LinearModel(D, A, forgetting=forgetting)
    for _ in range(n):
        x, u = rng.normal(size=D), rng.normal(size=A)
        model.learn(x, u, x + world @ np.concatenate(([1.0], x, u)) + rng.normal(size=D) * noise)
    return model, world


def test_an_untrained_model_predicts_that_nothing_changes() -> None:
    model = LinearModel(D, A)
    x = np.array([1.0, -2.0, 3.0, 0.25])
    assert np.array_equal(model.predict(x, np.ones(A)).mean, x)
    assert model.transitions == 0
    assert model.spread > 0


def test_a_linear_world_is_learnt_and_its_noise_estimated() -> None:
    model, world = taught(20_000, noise=0.1)
    x, u = np.full(D, 0.5), np.full(A, -0.5)
    prediction = model.predict(x, u)
    assert prediction.mean == pytest.approx(x + world @ np.concatenate(([1.0], x, u)), abs=0.01)
    assert np.sqrt(prediction.variance) == pytest.approx(0.1, rel=0.03)
    assert model.spread == pytest.approx(0.1, rel=0.03)
    assert model.transitions == 20_000


def squared_z(n: int, *, weights: float) -> float:
    """Mean of (seen − mean)² / variance after `n` transitions, over 400 linear worlds with noise 0.5."""
    squares: list[float] = []
    for seed in range(400):
        rng = np.random.default_rng((seed, 11))
        world = rng.normal(size=(D, 1 + D + A)) * weights
        model = LinearModel(D, A)
        for step in range(n + 1):
            x, u = rng.normal(size=D), rng.normal(size=A)
            y = x + world @ np.concatenate(([1.0], x, u)) + rng.normal(size=D) * 0.5
            if step == n:
                prediction = model.predict(x, u)
                squares.extend((y - prediction.mean) ** 2 / prediction.variance)
            model.learn(x, u, y)
    return float(np.mean(squares))


@pytest.mark.parametrize("weights", [0.0, 0.3])
def test_after_30_transitions_the_variance_is_that_of_the_errors(weights: float) -> None:
    # Dividing the cost by n instead of n − γ gives 1.39 and 1.25 here; the standard error is 0.04.
    assert squared_z(30, weights=weights) == pytest.approx(1.0, abs=0.18)


def test_where_weights_are_larger_than_the_prior_the_variance_errs_on_the_side_of_doubt() -> None:
    assert 0.3 < squared_z(30, weights=1.0) < 1.0


def test_a_batch_of_candidates_is_predicted_as_each_alone() -> None:
    model, _ = taught(50, noise=0.1)
    x, candidates = np.linspace(-1, 1, D), np.random.default_rng(5).normal(size=(7, A))
    many = model.predict_many(x, candidates)
    assert many.mean.shape == many.variance.shape == (7, D)
    for row, candidate in enumerate(candidates):
        one = model.predict(x, candidate)
        assert one.mean == pytest.approx(many.mean[row], rel=1e-12)
        assert one.variance == pytest.approx(many.variance[row], rel=1e-12)
    assert model.predict_many(x, np.empty((0, A))).mean.shape == (0, D)


def test_what_lies_far_from_experience_is_predicted_with_more_doubt() -> None:
    model, _ = taught(100, noise=0.1)
    near, far = model.predict(np.zeros(D), np.zeros(A)), model.predict(np.full(D, 100.0), np.zeros(A))
    assert (far.variance > 10 * near.variance).all()


def test_the_variance_has_a_floor_where_nothing_ever_changes() -> None:
    model = LinearModel(1, 0)
    for _ in range(int(PRIOR_COUNT / VARIANCE_FLOOR) + 1000):
        model.learn([1.0], [], [1.0])
    assert model.predict([1.0], []).variance[0] >= VARIANCE_FLOOR
    assert model.spread >= math.sqrt(VARIANCE_FLOOR)
    assert math.isfinite(surprise([1.0], model.predict([1.0], []).variance, [2.0]).nats)


def test_the_same_calls_in_the_same_order_give_the_same_bits() -> None:
    one, _ = taught(500, noise=0.2, seed=9)
    two, _ = taught(500, noise=0.2, seed=9)
    x, u = np.full(D, 0.1), np.full(A, 0.7)
    assert one.predict(x, u).mean.tobytes() == two.predict(x, u).mean.tobytes()
    assert one.predict(x, u).variance.tobytes() == two.predict(x, u).variance.tobytes()
    assert one.spread == two.spread


def test_predicting_changes_nothing() -> None:
    one, _ = taught(50, noise=0.2)
    two, _ = taught(50, noise=0.2)
    two.predict_many(np.ones(D), np.ones((5, A)))
    x, u = np.full(D, 0.1), np.full(A, 0.7)
    assert one.predict(x, u).mean.tobytes() == two.predict(x, u).mean.tobytes()


def test_forgetting_follows_a_world_that_changed_and_remembering_averages_both() -> None:
    remembering, forgetting = LinearModel(1, 1), LinearModel(1, 1, forgetting=0.95)
    rng = np.random.default_rng(1)
    for gain in (1.0, -1.0):
        for _ in range(300):
            x, u = rng.normal(size=1), rng.normal(size=1)
            for model in (remembering, forgetting):
                model.learn(x, u, x + gain * u)
    assert forgetting.predict([0.0], [1.0]).mean[0] == pytest.approx(-1.0, abs=0.01)
    assert remembering.predict([0.0], [1.0]).mean[0] == pytest.approx(0.0, abs=0.2)


def test_forgetting_stays_finite_when_one_direction_is_never_excited() -> None:
    model = LinearModel(2, 1, forgetting=0.9)
    for _ in range(20_000):
        model.learn([1.0, 0.0], [0.0], [1.0, 0.0])
    prediction = model.predict([0.0, 1.0], [1.0])
    assert np.isfinite(prediction.mean).all()
    assert (prediction.variance < 100).all()


@pytest.mark.parametrize("shape", [(D + 1,), (D, 1), ()])
def test_other_shapes_are_refused_with_both_shapes_named(shape: tuple[int, ...]) -> None:
    model = LinearModel(D, A)
    with pytest.raises(ShapeError, match=r"takes \(4,\)"):
        model.predict(np.zeros(shape), np.zeros(A))
    with pytest.raises(ShapeError, match="next observation"):
        model.learn(np.zeros(D), np.zeros(A), np.zeros(shape))
    with pytest.raises(ShapeError, match=r"\(K, 2\)"):
        model.predict_many(np.zeros(D), np.zeros((3, A + 1)))
    assert model.transitions == 0


def test_a_width_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(ShapeError, match="at most"):
        LinearModel(MAX_FEATURES, 1)
    with pytest.raises(ShapeError):
        LinearModel(0, 1)


@pytest.mark.parametrize("forgetting", [0.0, 1.1, math.nan])
def test_a_forgetting_outside_its_range_is_refused(forgetting: float) -> None:
    with pytest.raises(ValueError, match="forgetting"):
        LinearModel(1, 1, forgetting=forgetting)
