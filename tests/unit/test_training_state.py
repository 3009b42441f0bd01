"""A training that is cut between two steps and goes on elsewhere ends as one that was never cut."""

import dataclasses

import pytest
import torch

from tests.jepa_worlds import CONFIG, hidden_speed, spring
from world_model.errors import AlteredCheckpoint, ShapeError
from world_model.experience import Experience
from world_model.jepa.config import JepaConfig
from world_model.jepa.fit import begin, fit
from world_model.jepa.state import PLACE, TENSORS, State
from world_model.jepa.training import Budget, Fitted, Training

STEPS = 40
EXPERIENCE = spring(rows=600)
SMALL = CONFIG.model_copy(update={"latent": 2, "hidden": 16})


def new(
    experience: Experience = EXPERIENCE, config: JepaConfig = SMALL, *, state: State | None = None, steps: int = STEPS
) -> Training:
    return begin(experience, config, Budget(steps, None), seed=3, state=state)


def cut(training: Training, *, at: int) -> State:
    """Its state at a step, through files."""
    while training.number < at:
        training.advance()
    return State.from_files(training.state().files())


def ended(training: Training) -> Fitted:
    while not training.ended:
        training.advance()
    return training.fitted()


def same(one: Fitted, two: Fitted) -> bool:
    """Every figure of the curve, and every bit of the model."""
    return (one.progress, one.steps, one.model.model_id) == (two.progress, two.steps, two.model.model_id)


@pytest.mark.parametrize("at", [0, 7, 20, 21, 33, STEPS], ids="step {}".format)
def test_a_training_that_was_cut_at_any_step_ends_bit_for_bit_as_one_that_was_not(at: int) -> None:
    assert same(ended(new(state=cut(new(), at=at))), fit(EXPERIENCE, SMALL, steps=STEPS, seed=3))


def test_a_training_that_was_cut_at_every_look_of_a_world_with_a_memory_ends_the_same() -> None:
    experience, config = hidden_speed(rows=600), SMALL.model_copy(update={"history": 3, "patience": 2})
    training = new(experience, config)
    while not training.ended:
        if training.advance():
            training = new(experience, config, state=cut(training, at=0))
    assert same(training.fitted(), fit(experience, config, steps=STEPS, seed=3))


def test_a_state_is_a_copy_that_later_steps_do_not_change() -> None:
    training = new()
    state = cut(training, at=9)
    kept = training.state()
    before = {name: tensor.clone() for name, tensor in kept.tensors.items()}
    ended(training)
    assert all(torch.equal(before[name], tensor) for name, tensor in kept.tensors.items())
    assert kept.place.number == state.place.number == 9


def test_the_time_that_was_taken_before_the_cut_counts() -> None:
    state = cut(new(), at=4)
    late = dataclasses.replace(state, place=dataclasses.replace(state.place, elapsed_s=1e6))
    training = begin(EXPERIENCE, SMALL, Budget(0, 10.0), seed=3, state=late)
    assert not training.ended
    fitted = ended(training)
    assert fitted.steps == 5
    assert fitted.elapsed_s > 1e6


def test_the_state_of_another_anatomy_is_refused() -> None:
    state = cut(new(), at=1)
    with pytest.raises(ShapeError, match="training of another anatomy"):
        new(config=SMALL.model_copy(update={"hidden": 8}), state=state)


@pytest.mark.parametrize("name", [PLACE, TENSORS])
def test_a_state_whose_files_were_cut_or_are_gone_is_not_used(name: str) -> None:
    files = new().state().files()
    for damaged in ({**files, name: files[name][:-20]}, {key: value for key, value in files.items() if key != name}):
        with pytest.raises(AlteredCheckpoint, match="Nothing of it is used"):
            State.from_files(damaged)
