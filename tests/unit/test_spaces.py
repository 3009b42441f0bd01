"""Spaces refuse actions they do not hold."""

from __future__ import annotations

import numpy as np
import pytest

from loops.spaces import ACHIEVED, DESIRED, BoxActions, DiscreteActions, named_arrays
from telemetry.events.values import Action, Array, ArrayObservation, Goal, Move, Say, Text, Wait

BOX = BoxActions(low=Array.of([-1, 0], dtype="float32"), high=Array.of([1, 5], dtype="float32"))
DISCRETE = DiscreteActions(n=3, first=5)


def test_a_continuous_space_gives_the_move_in_its_own_dtype() -> None:
    fit = BOX.fit(Move(to=Array.of([0.25, 5.0])))
    assert fit.dtype == np.float32
    assert fit.tolist() == [0.25, 5.0]


@pytest.mark.parametrize(
    "action",
    [
        Move(to=Array.of([0.0, 5.5])),
        Move(to=Array.of([-1.5, 0.0])),
        Move(to=Array.of([0.0])),
        Move(to=Array.of(np.zeros((1, 2)))),
        Move(to=0),
        Wait(),
        Say(text="left"),
    ],
)
def test_a_continuous_space_refuses_what_it_does_not_hold(action: Action) -> None:
    with pytest.raises(ValueError, match="space takes"):
        BOX.fit(action)


def test_a_vector_of_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="reshape"):
        BOX.vector(Move(to=Array.of([0.0])))


def test_a_discrete_space_counts_from_its_first_index() -> None:
    assert [DISCRETE.fit(Move(to=to)) for to in (5, 6, 7)] == [5, 6, 7]
    assert DISCRETE.vector(Move(to=6)).tolist() == [0, 1, 0]


@pytest.mark.parametrize("action", [Move(to=4), Move(to=8), Move(to=Array.of([5.0])), Wait()])
def test_a_discrete_space_refuses_what_it_does_not_hold(action: Action) -> None:
    with pytest.raises(ValueError, match="space takes"):
        DISCRETE.vector(action)


def test_what_was_seen_is_named_with_the_goals_among_it() -> None:
    goal = Goal(achieved=Array.of([1.0]), desired=Array.of([2.0]))
    seen = (ArrayObservation(name="x", array=Array.of([3.0])), Text(name="mission", text="go"))
    named = named_arrays(seen, goal)
    assert {name: array.tolist() for name, array in named.items()} == {"x": [3], ACHIEVED: [1], DESIRED: [2]}
