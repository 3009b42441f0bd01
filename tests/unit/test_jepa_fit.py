"""Training on small worlds: what is learnt, and what stops it."""

import numpy as np
import pytest
import torch

from tests.jepa_worlds import CONFIG, spring
from world_model.errors import ShapeError, TooFewTransitions
from world_model.jepa.config import JepaConfig
from world_model.jepa.fit import Progress, fit


def test_equal_experience_seed_and_steps_give_equal_bits() -> None:
    experience = spring(rows=600)
    before = torch.get_rng_state()
    one, two = (fit(experience, CONFIG, steps=12, seed=3) for _ in range(2))
    assert one.progress[-1].loss == two.progress[-1].loss
    assert one.model.model_id == two.model.model_id
    assert torch.equal(before, torch.get_rng_state())
    assert fit(experience, CONFIG, steps=12, seed=4).model.model_id != one.model.model_id


def test_a_world_that_is_lived_in_is_foreseen_better_than_by_copying() -> None:
    told: list[Progress] = []
    fitted = fit(spring(rows=1500), CONFIG, steps=300, seed=0, told=told.append)
    assert tuple(told) == fitted.progress
    assert min(p.held_out for p in told) < 0.3
    assert fitted.steps <= 300


def test_too_few_transitions_say_how_many_there_are_and_how_many_it_needs() -> None:
    with pytest.raises(TooFewTransitions, match=r"there are 97 transitions .* at least 200") as error:
        fit(spring(rows=100, episodes=3), CONFIG, steps=5)
    assert (error.value.found, error.value.needed) == (97, 200)


def test_a_model_is_gone_on_from_with_its_statistics() -> None:
    experience = spring(rows=600)
    first = fit(experience, CONFIG, steps=20, seed=0).model
    second = fit(spring(rows=600, seed=9), CONFIG, steps=1, seed=1, start=first).model
    assert torch.equal(first.network.encoder.scale_D, second.network.encoder.scale_D)
    with pytest.raises(ShapeError, match="the configuration asks for"):
        fit(experience, JepaConfig(**{**CONFIG.model_dump(), "hidden": 8}), steps=1, start=first)
    assert np.isfinite(second.spread)
