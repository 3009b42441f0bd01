"""What a trained model says of beliefs, courses of action and doubt."""

import numpy as np
import pytest
import torch

from tests.jepa_worlds import CONFIG, hidden_speed, spring
from world_model.errors import ShapeError
from world_model.jepa.collapse import collapsed, effective_rank
from world_model.jepa.config import JepaConfig
from world_model.jepa.fit import fit
from world_model.jepa.model import COPY_SHARE, Jepa

EXPERIENCE = spring(rows=800)
REMEMBERING = JepaConfig(**{**CONFIG.model_dump(), "history": 3})


@pytest.fixture(scope="module")
def model() -> Jepa:
    return fit(EXPERIENCE, CONFIG, steps=200, seed=0).model


@pytest.fixture(scope="module")
def remembering() -> Jepa:
    return fit(hidden_speed(rows=800), REMEMBERING, steps=20, seed=0).model


def test_a_belief_is_the_same_whichever_way_it_is_asked_for(remembering: Jepa) -> None:
    experience = hidden_speed(rows=800)
    every_NZ = remembering.beliefs(experience)
    episode = np.flatnonzero(experience.episode_N == 4)
    seen_TD, done_TA = experience.seen_ND[episode], experience.done_NA[episode]
    encoded_TZ = remembering.encode(seen_TD[None], done_TA[None])[0]
    for t in (0, 1, 2, 7, len(episode) - 1):
        believed_Z = remembering.believe(seen_TD[: t + 1], done_TA[: t + 1])
        assert believed_Z == pytest.approx(every_NZ[episode[t]], abs=1e-5)
        assert believed_Z == pytest.approx(encoded_TZ[t], abs=1e-5)


def test_a_belief_rests_on_its_history_and_not_on_what_is_not_done_yet(remembering: Jepa) -> None:
    seen = np.array([[0.1], [0.2], [0.4], [0.5]], np.float32)
    done = np.zeros((4, 1), np.float32)
    belief = remembering.believe(seen, done)
    older, before, last = seen.copy(), seen.copy(), done.copy()
    older[0], before[1], last[-1] = 0.9, 0.9, 1.0
    assert np.array_equal(remembering.believe(older, done), belief)
    assert not np.array_equal(remembering.believe(before, done), belief)
    assert np.array_equal(remembering.believe(seen, last), belief)
    last[1] = 1.0
    assert not np.array_equal(remembering.believe(seen, last), belief)


def test_what_would_be_learnt_is_half_the_log_of_one_plus_the_heads_variance_over_the_noise(model: Jepa) -> None:
    rng = np.random.default_rng(0)
    start = torch.from_numpy(rng.normal(size=(2, CONFIG.latent)).astype(np.float32))
    controls = torch.from_numpy(rng.uniform(-1, 1, size=(2, 3, 4, 1)).astype(np.float32))
    rollout = model.rollout(start, controls)
    noise_Z = model.network.latent_noise_Z.double().numpy()
    for b in range(2):
        for n in range(3):
            heads_EZ = np.tile(start[b].numpy(), (CONFIG.heads, 1))
            for h in range(4):
                control = model.network.control(controls[b, n, h])
                with torch.no_grad():
                    after = model.network.predictor(torch.from_numpy(heads_EZ)[:, None], control[None])
                heads_EZ = after[:, 0].numpy()
                expected = 0.5 * np.log1p(heads_EZ.astype(np.float64).var(axis=0) / noise_Z).sum()
                assert float(rollout.epistemic_BNH[b, n, h]) == pytest.approx(expected, rel=1e-3)
                mean_Z = heads_EZ.mean(axis=0)
                assert rollout.latent_BNHZ[b, n, h].numpy() == pytest.approx(mean_Z, abs=1e-4)
                assert rollout.outcome_BNHG[b, n, h].numpy() == pytest.approx(model.goal(mean_Z), abs=1e-4)
    assert (rollout.epistemic_BNH >= 0).all()


def test_noise_is_the_held_out_residual_of_one_step(model: Jepa) -> None:
    held_out = EXPERIENCE.split(held_out=CONFIG.held_out, seed=0)[1]
    belief_NZ = model.beliefs(held_out)
    now = np.flatnonzero(held_out.steps_N)
    rollout = model.rollout(torch.from_numpy(belief_NZ[now]), torch.from_numpy(held_out.done_NA[now])[:, None, None])
    residual_NZ = rollout.latent_BNHZ[:, 0, 0].numpy() - belief_NZ[now + 1]
    assert model.network.latent_noise_Z.numpy() == pytest.approx(np.square(residual_NZ).mean(axis=0), rel=1e-3)


def test_a_prediction_is_in_observation_units_and_its_variance_has_a_floor(model: Jepa) -> None:
    held_out = EXPERIENCE.split(held_out=CONFIG.held_out, seed=0)[1]
    now = np.flatnonzero(held_out.steps_N)
    copied_D = np.square(held_out.seen_ND[now] - held_out.seen_ND[now + 1]).mean(axis=0)
    error, copied = 0.0, 0.0
    for row in now[:40]:
        belief_Z = model.believe(held_out.seen_ND[row : row + 1], held_out.done_NA[row : row + 1])
        prediction = model.predict(belief_Z, held_out.done_NA[row : row + 1])
        assert prediction.mean.shape == prediction.variance.shape == (1, 3)
        assert prediction.mean.dtype == prediction.variance.dtype == np.float64
        assert (prediction.variance >= 0.999 * COPY_SHARE * copied_D).all()
        error += np.square(prediction.mean[0] - held_out.seen_ND[row + 1]).sum()
        copied += np.square(held_out.seen_ND[row] - held_out.seen_ND[row + 1]).sum()
    assert error < 0.5 * copied
    assert model.spread > 0


def test_sessions_that_are_foreseen_together_foresee_what_each_does_alone(model: Jepa) -> None:
    rng = np.random.default_rng(1)
    start = torch.from_numpy(rng.normal(size=(3, CONFIG.latent)).astype(np.float32))
    controls = torch.from_numpy(rng.uniform(-1, 1, size=(3, 5, 2, 1)).astype(np.float32))
    together = model.rollout(start, controls)
    for b in range(3):
        alone = model.rollout(start[b : b + 1], controls[b : b + 1])
        for one, all_of_them in zip(alone, together, strict=True):
            assert torch.allclose(one[0], all_of_them[b], atol=1e-5)


def test_other_shapes_are_refused_with_what_the_model_takes(model: Jepa, remembering: Jepa) -> None:
    with pytest.raises(ShapeError, match=r"seen \(1, 4\) and done \(1, 1\) do not fit: this model takes \(3, 1\)"):
        model.believe(np.zeros((1, 4)), np.zeros((1, 1)))
    with pytest.raises(ShapeError, match=r"takes \(4,\) and \(K, 1\)"):
        model.predict(np.zeros(4), np.zeros((2, 2)))
    with pytest.raises(ShapeError, match="has no achieved goal"):
        remembering.goal(np.zeros(4))


def test_effective_rank_counts_equal_directions_and_tells_unequal_ones_apart() -> None:
    square = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], np.float32)
    assert effective_rank(square) == pytest.approx(2)
    assert effective_rank(square * np.array([1, 0], np.float32)) == pytest.approx(1)
    shares = np.array([4, 1]) / 5
    expected = float(np.exp(-(shares * np.log(shares)).sum()))
    assert effective_rank(square * np.array([4, 1], np.float32)) == pytest.approx(expected)
    assert effective_rank(square * 0) == 0


def test_a_cloud_that_lost_a_direction_or_half_its_rank_has_collapsed() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(300, 6)).astype(np.float32)
    assert collapsed(inputs[:, :4], inputs) is None
    flat = inputs[:, :4] * np.array([1, 1, 1, 0.05], np.float32)
    assert "latent column 3 has a spread of 0.049" in str(collapsed(flat, inputs))
    line = inputs[:, :1] * np.ones((1, 4), np.float32) + 0.01 * inputs[:, :4]
    assert "effective rank" in str(collapsed(line, inputs))
