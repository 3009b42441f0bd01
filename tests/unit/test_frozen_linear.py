"""The linear model of a whole log: what it predicts is ridge regression, and saved it is what it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.jepa_worlds import spring
from world_model.checkpoint import load, save
from world_model.errors import AlteredCheckpoint, LossNotFinite, OtherLayout, TooFewTransitions
from world_model.experience import Experience
from world_model.frozen import FrozenLinear, learn_linear
from world_model.linear import RIDGE
from world_model.plan.landmarks import Landmarks

LIVED = spring(rows=400)


@pytest.fixture(scope="module")
def model() -> FrozenLinear:
    return learn_linear(LIVED, name="spring")


def test_it_predicts_what_ridge_regression_over_all_transitions_does(model: FrozenLinear) -> None:
    rows = np.flatnonzero(LIVED.steps_N)
    features = np.hstack([np.ones((len(rows), 1)), LIVED.seen_ND[rows], LIVED.done_NA[rows]]).astype(np.float64)
    changes = (LIVED.seen_ND[rows + 1] - LIVED.seen_ND[rows]).astype(np.float64)
    weights = np.linalg.solve(features.T @ features + RIDGE * np.eye(features.shape[1]), features.T @ changes)
    row = rows[7]
    expected = LIVED.seen_ND[row] + features[7] @ weights
    belief = model.believe(LIVED.seen_ND[: row + 1], LIVED.done_NA[: row + 1])
    found = model.predict(belief, LIVED.done_NA[row][np.newaxis])
    np.testing.assert_allclose(found.mean[0], expected, rtol=1e-5, atol=1e-7)
    assert model.linear.transitions == len(rows)


def test_a_rollout_is_its_predictions_one_after_the_other(model: FrozenLinear) -> None:
    controls_TA = np.array([[0.5], [-0.2], [0.9]], dtype=np.float32)
    seen_D = LIVED.seen_ND[3]
    rollout = model.rollout(torch.from_numpy(seen_D)[None], torch.from_numpy(controls_TA)[None, None])
    for step, control_A in enumerate(controls_TA):
        seen_D = model.predict(seen_D, control_A[np.newaxis]).mean[0].astype(np.float32)
        np.testing.assert_allclose(rollout.outcome_BNHG[0, 0, step], seen_D[-1:], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.outcome(seen_D), seen_D[-1:])


def test_saved_and_loaded_it_predicts_the_same_bits(model: FrozenLinear, tmp_path: Path) -> None:
    landmarks = Landmarks.of(model.outcomes(LIVED), LIVED, count=16, seed=0)
    model_id = save(tmp_path / "m", model, name="spring", landmarks=landmarks, metrics={"error": 0.5})
    found = load(tmp_path / "m", layout=LIVED.layout)
    assert isinstance(found.model, FrozenLinear)
    assert found.model_id == found.model.model_id == model_id
    control = np.array([[0.3]], dtype=np.float32)
    before, after = (each.predict(LIVED.seen_ND[5], control) for each in (model, found.model))
    assert before.mean.tobytes() == after.mean.tobytes()
    assert before.variance.tobytes() == after.variance.tobytes()
    assert (found.model.spread, found.model.linear.transitions) == (model.spread, model.linear.transitions)
    assert found.landmarks is not None
    np.testing.assert_array_equal(found.landmarks.nodes_LG, landmarks.nodes_LG)


def test_an_altered_one_and_one_of_another_layout_are_refused(model: FrozenLinear, tmp_path: Path) -> None:
    save(tmp_path / "m", model, landmarks=None, metrics={})
    other = LIVED.layout.model_copy(update={"goal": 0})
    with pytest.raises(OtherLayout, match=r"goal of 1.*goal of 0"):
        load(tmp_path / "m", layout=other)
    file = tmp_path / "m" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.raises(AlteredCheckpoint, match="was altered"):
        load(tmp_path / "m")


def test_too_few_transitions_and_numbers_beyond_32_bits_are_refused() -> None:
    with pytest.raises(TooFewTransitions, match="there are 8 transitions to learn from") as few:
        learn_linear(spring(rows=9, episodes=1))
    assert (few.value.found, few.value.needed) == (8, 10)
    seen_ND = LIVED.seen_ND.copy()
    seen_ND[[40, 42], 0] = np.inf
    columns = {name: getattr(LIVED, name) for name in ("layout", "done_NA", "reward_N", "episode_N", "session_N")}
    with pytest.raises(LossNotFinite, match="of events 140 to 142"):
        learn_linear(Experience(seen_ND=seen_ND, position_N=LIVED.position_N, **columns))


def test_it_stops_where_it_is_asked_to() -> None:
    told: list[int] = []
    lived = spring(rows=2000)
    model = learn_linear(lived, told=told.append, stop=lambda: len(told) == 2)
    assert told == [256, 512, 512]
    assert model.linear.transitions == 512
