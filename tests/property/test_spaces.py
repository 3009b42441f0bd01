"""Laws of the flat form of what is seen and done."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from loops.spaces import ACHIEVED, ArrayPart, BoxActions, DiscreteActions, MoveSpace, Spaces, TextPart, flatten, parts
from telemetry.events.values import Array, ArrayObservation, Goal, Move, Observation, Text

DTYPES = ("bool", "uint8", "int32", "float32", "float64")
SHAPES = array_shapes(min_dims=0, max_dims=3, max_side=4)

Case = tuple[Spaces, tuple[Observation, ...], Goal | None]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Spaces of up to four parts and one observation of each."""
    declared: list[ArrayPart | TextPart] = []
    seen: list[Observation] = []
    for name in draw(st.lists(st.sampled_from("abcd"), unique=True)):
        match draw(st.sampled_from(["dense", "discrete", "text"])):
            case "dense":
                values = draw(arrays(draw(st.sampled_from(DTYPES)), SHAPES, elements={"min_value": 0, "max_value": 1}))
                declared.append(ArrayPart(name=name, shape=values.shape, dtype=values.dtype.name))
                seen.append(ArrayObservation(name=name, array=Array.of(values)))
            case "discrete":
                n, first = draw(st.integers(1, 6)), draw(st.integers(-3, 3))
                index = np.array(draw(st.integers(first, first + n - 1)))
                declared.append(ArrayPart(name=name, shape=(), dtype="int64", categories=n, first=first))
                seen.append(ArrayObservation(name=name, array=Array.of(index)))
            case _:
                declared.append(TextPart(name=name))
                seen.append(Text(name=name, text=draw(st.sampled_from(["", "go left"]))))
    goal = None
    if draw(st.booleans()):
        place = Array.of(draw(arrays("float64", SHAPES, elements={"min_value": -9, "max_value": 9})))
        goal = Goal(achieved=place, desired=place)
    shape = None if goal is None else goal.achieved.shape
    spaces = Spaces(observation=tuple(declared), goal=shape, action=DiscreteActions(n=2))
    return spaces, tuple(seen), goal


@given(cases())
def test_the_parts_of_the_flat_form_are_what_was_seen(case: Case) -> None:
    spaces, seen, goal = case
    flat = flatten(spaces, seen, goal)
    assert flat.shape == (spaces.width,)
    expected = {o.name: o.array.numpy() for o in seen if isinstance(o, ArrayObservation)}
    if goal is not None:
        expected[ACHIEVED] = goal.achieved.numpy()
    found = parts(spaces, flat)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].shape == values.shape
        assert np.array_equal(found[name], values)


@given(cases(), st.data())
def test_the_order_of_what_was_seen_does_not_matter(case: Case, data: st.DataObject) -> None:
    spaces, seen, goal = case
    shuffled = data.draw(st.permutations(seen))
    assert np.array_equal(flatten(spaces, seen, goal), flatten(spaces, shuffled, goal))


@given(cases())
def test_spaces_read_back_from_their_description_are_equal(case: Case) -> None:
    spaces, _, _ = case
    assert Spaces.model_validate(spaces.describe()) == spaces


@given(st.integers(1, 9), st.integers(-5, 5), st.data())
def test_a_discrete_action_is_one_hot(n: int, first: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(first, first + n - 1))
    vector = DiscreteActions(n=n, first=first).vector(Move(to=index))
    assert vector.sum() == 1.0
    assert int(vector.argmax()) + first == index


@st.composite
def moves(draw: st.DrawFn) -> tuple[MoveSpace, Move]:
    """A space of moves and one of them."""
    if draw(st.booleans()):
        n, first = draw(st.integers(1, 6)), draw(st.integers(-3, 3))
        return DiscreteActions(n=n, first=first), Move(to=draw(st.integers(first, first + n - 1)))
    values = draw(
        arrays(draw(st.sampled_from(("float32", "float64"))), SHAPES, elements={"min_value": -1, "max_value": 1})
    )
    bound = np.ones_like(values)
    return BoxActions(low=Array.of(-bound), high=Array.of(bound)), Move(to=Array.of(values))


@given(moves())
def test_a_move_is_what_its_flat_form_stands_for(case: tuple[MoveSpace, Move]) -> None:
    space, move = case
    assert space.move(space.vector(move)) == move
