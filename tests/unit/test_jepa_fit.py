"""Training on small worlds: what is learnt, and what stops it."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.jepa_worlds import CONFIG, hidden_speed, room, spring
from world_model.errors import Collapsed, LossNotFinite, ShapeError, TooFewTransitions
from world_model.experience import Experience
from world_model.jepa.config import JepaConfig
from world_model.jepa.fit import Progress, fit
from world_model.jepa.lesson import Lesson
from world_model.layout import Part


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


def test_collapse_stops_training_with_the_reason() -> None:
    careless = JepaConfig(**{**CONFIG.model_dump(), "sigreg_weight": 0.0, "weight_decay": 0.1})
    with pytest.raises(Collapsed, match=r"training stopped at step \d+: .* Try a greater sigreg_weight") as error:
        fit(spring(rows=1500), careless, steps=400, seed=0)
    assert "spread" in error.value.reason or "effective rank" in error.value.reason


def drawn(lesson: Lesson, step: int) -> set[tuple[float, ...]]:
    return {tuple(row) for row in lesson.batch(step).seen_BWD.flatten(0, 1).tolist()}


def test_a_loss_that_is_not_finite_names_the_events_and_keeps_the_last_good_model() -> None:
    experience = spring(rows=1500)
    lesson = Lesson.of(experience, CONFIG, seed=0)
    late = drawn(lesson, 5).difference(*(drawn(lesson, step) for step in range(5))).pop()
    row = int(np.flatnonzero((experience.seen_ND == np.array(late, np.float32)).all(axis=1))[0])
    experience.seen_ND[row] = np.nan
    position = int(experience.position_N[row])
    with pytest.raises(LossNotFinite, match=f"loss of step 6 .* holds events {position} to {position}") as error:
        fit(experience, CONFIG, steps=20, seed=0)
    assert (error.value.first_position, error.value.last_position) == (position, position)
    assert error.value.last_good is not None
    kept = error.value.last_good
    assert all(np.isfinite(values).all() for values in kept.arrays().values())


def test_weights_that_blow_up_just_before_a_look_are_a_loss_that_is_not_finite() -> None:
    wild = CONFIG.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(LossNotFinite, match="the loss of step 2 is not finite") as error:
        fit(spring(rows=600), wild, steps=40, seed=0)
    assert error.value.last_good is None


def missed(experience: Experience, config: JepaConfig, *, steps: int) -> float:
    """The share of what changes that the kept model misses."""
    return min(progress.held_out for progress in fit(experience, config, steps=steps, seed=0).progress)


def test_a_belief_over_several_observations_knows_what_one_does_not_show() -> None:
    experience = hidden_speed(rows=2000)
    small = JepaConfig(**{**CONFIG.model_dump(), "latent": 2})
    remembering = JepaConfig(**{**small.model_dump(), "history": 3})
    assert missed(experience, remembering, steps=300) < 0.75 * missed(experience, small, steps=300)


@pytest.mark.parametrize("picture", [True, False], ids=["image", "grid"])
def test_pictures_and_discrete_controls_are_foreseen_better_than_by_copying(picture: bool) -> None:
    wide = JepaConfig(**{**CONFIG.model_dump(), "latent": 8, "hidden": 64, "horizon": 2})
    assert missed(room(rows=2000, picture=picture), wide, steps=400) < 0.6


def test_the_order_and_units_of_columns_do_not_matter() -> None:
    experience = spring(rows=1500)
    layout = experience.layout.model_copy(update={"parts": (Part(name="renamed", shape=(2,), dtype="float32"),)})
    seen_ND = experience.seen_ND[:, [1, 0, 2]] * np.array([1e3, 0.02, -7], np.float32) + np.array([5, 0, 3], np.float32)
    other = dataclasses.replace(experience, layout=layout, seen_ND=seen_ND)
    errors = [goal_error(one) for one in (experience, other)]
    assert errors[1] == pytest.approx(errors[0], rel=0.25)


def goal_error(experience: Experience) -> float:
    """Of the goal after three decisions on sessions held out, over the copy baseline's."""
    learnt, held_out = experience.split(held_out=0.2, seed=5)
    model = fit(learnt, CONFIG, steps=400, seed=0).model
    starts = held_out.starts(3)
    beliefs = torch.from_numpy(model.beliefs(held_out)[starts])
    controls = torch.from_numpy(np.stack([held_out.done_NA[starts + k] for k in range(3)], axis=1))
    foreseen = model.rollout(beliefs, controls[:, None]).outcome_BNHG[:, 0, -1].numpy()
    goal = held_out.seen_ND[:, -1:]
    return float(np.abs(foreseen - goal[starts + 3]).mean() / np.abs(goal[starts] - goal[starts + 3]).mean())
