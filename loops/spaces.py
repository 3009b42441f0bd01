"""The spaces of an environment: what can be seen, what can be done, and their flat numeric form.

Knows shapes; knows no environment's layout. Invariant: `flatten` and `parts` are inverse on numeric parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, JsonValue

from telemetry.events.values import (
    Action,
    Array,
    ArrayObservation,
    Digest,
    EffectClass,
    Goal,
    Move,
    Observation,
    ToolCalls,
    Value,
    digest_of,
)

Vector = NDArray[np.float64]
ACHIEVED = "achieved_goal"
DESIRED = "desired_goal"


class ArrayPart(Value):
    """A numeric part of what is seen. `categories` counts the values of a discrete part, one-hot when flat."""

    kind: Literal["array"] = "array"
    name: str
    shape: tuple[int, ...]
    dtype: str
    categories: int | None = None
    first: int = 0

    @property
    def width(self) -> int:
        """Length of the flat form."""
        return self.categories if self.categories is not None else int(np.prod(self.shape, dtype=np.int64))


class TextPart(Value):
    """A part of what is seen that is words."""

    kind: Literal["text"] = "text"
    name: str


class BoxActions(Value):
    """Continuous control between `low` and `high`, equal shapes, finite."""

    kind: Literal["box"] = "box"
    low: Array
    high: Array
    quantum: float | None = Field(default=None, gt=0)
    """The step that control is rounded to, from `low`, before the world acts on it: what rounds alike is one action.
    None where every value is an action of its own."""

    @property
    def width(self) -> int:
        return int(np.prod(self.low.shape, dtype=np.int64))

    def fit(self, action: Action) -> NDArray[Any]:
        """The move in the dtype of the bounds, rounded. Raises ValueError for another shape or out of bounds."""
        values = move_array(action).astype(self.low.dtype)
        low, high = self._bounds
        if values.shape != low.shape or not ((low <= values) & (values <= high)).all():
            expected = f"{low.dtype} of shape {low.shape} from {low} to {high}"
            raise ValueError(f"the space takes {expected}, not {values}")
        return self._rounded(values)

    def key(self, action: Action) -> Digest:
        """Of the action as the world acts on it: equal where it cannot tell two apart."""
        if isinstance(action, Move) and isinstance(action.to, Array) and self.quantum is not None:
            return digest_of(Move(to=Array.of(self.fit(action))))
        return digest_of(action)

    def vector(self, action: Action) -> Vector:
        """Flat form, shape (width,)."""
        return move_array(action).astype(np.float64).reshape(self.width)

    def move(self, flat: NDArray[np.floating]) -> Move:
        """The move that `flat`, shape (width,), stands for, cut off at the bounds."""
        low, high = self._bounds
        return Move(to=Array.of(np.clip(flat.reshape(low.shape).astype(low.dtype), low, high)))

    def _rounded(self, values: NDArray[Any]) -> NDArray[Any]:
        if self.quantum is None:
            return values
        low, high = (bound.astype(np.float64) for bound in self._bounds)
        steps = np.rint((values.astype(np.float64) - low) / self.quantum)
        return np.minimum(low + steps * self.quantum, high).astype(values.dtype)

    @cached_property
    def _bounds(self) -> tuple[NDArray[Any], NDArray[Any]]:
        return self.low.numpy(), self.high.numpy()


class DiscreteActions(Value):
    """The indices first … first + n − 1."""

    kind: Literal["discrete"] = "discrete"
    n: int
    first: int = 0

    @property
    def width(self) -> int:
        return self.n

    def fit(self, action: Action) -> int:
        """The index. Raises ValueError for one that the space does not hold."""
        index = move_index(action)
        if not 0 <= index - self.first < self.n:
            raise ValueError(f"the space takes {self.first} to {self.first + self.n - 1}, not {index}")
        return index

    def key(self, action: Action) -> Digest:
        """Of the action: each index is an action of its own."""
        return digest_of(action)

    def vector(self, action: Action) -> Vector:
        """One-hot form, shape (width,)."""
        return _one_hot(self.fit(action) - self.first, self.n)

    def move(self, flat: NDArray[np.floating]) -> Move:
        """The likeliest move of `flat`, shape (width,)."""
        return Move(to=int(flat.argmax()) + self.first)


class ToolSpec(Value):
    """One tool as the session may call it."""

    name: str
    description: str = ""
    parameters: dict[str, JsonValue]
    """JSON Schema of its arguments, an object."""
    effect_class: EffectClass
    timeout_s: float
    secret: tuple[str, ...] = ()
    """Arguments whose values must never reach an event."""
    personal: tuple[str, ...] = ()
    """Arguments that say something about a person."""

    def bare(self) -> ToolSpec:
        """What a call must fit: without words for the model and without the time-out."""
        parameters = cast("dict[str, JsonValue]", _without_words(self.parameters))
        return self.model_copy(update={"description": "", "timeout_s": 0.0, "parameters": parameters})


class ToolActions(Value):
    """Calls of these tools, and words."""

    kind: Literal["tools"] = "tools"
    tools: tuple[ToolSpec, ...] = ()

    @property
    def width(self) -> int:
        return 0

    def fit(self, action: Action) -> Action:
        """The action. Raises ValueError for a move."""
        if isinstance(action, Move):
            raise ValueError("a conversation takes words and tool calls, not a move")
        return action

    def key(self, action: Action) -> Digest:
        """Of the action without the ids of its calls, which are names that a model gave them."""
        if isinstance(action, ToolCalls):
            calls = (call.model_copy(update={"id": str(place)}) for place, call in enumerate(action.calls))
            return digest_of(ToolCalls(calls=tuple(calls)))
        return digest_of(action)

    def vector(self, action: Action) -> Vector:
        """Words have no numeric form: shape (0,)."""
        return np.zeros(0)

    def tool(self, name: str) -> ToolSpec | None:
        return next((tool for tool in self.tools if tool.name == name), None)


MoveSpace = BoxActions | DiscreteActions
ActionSpace = Annotated[MoveSpace | ToolActions, Field(discriminator="kind")]


class Spaces(Value):
    """What an environment shows and accepts. `goal` is the shape of goal space, None where there is none."""

    observation: tuple[Annotated[ArrayPart | TextPart, Field(discriminator="kind")], ...]
    goal: tuple[int, ...] | None = None
    action: ActionSpace

    @property
    def moves(self) -> MoveSpace:
        """The actions of a world that is moved in."""
        assert not isinstance(self.action, ToolActions), "a conversation has no moves"
        return self.action

    @cached_property
    def arrays(self) -> tuple[ArrayPart, ...]:
        return tuple(part for part in self.observation if isinstance(part, ArrayPart))

    @cached_property
    def goal_width(self) -> int:
        return 0 if self.goal is None else int(np.prod(self.goal, dtype=np.int64))

    @cached_property
    def width(self) -> int:
        """Length of `flatten`: all numeric parts, then the achieved goal."""
        return sum(part.width for part in self.arrays) + self.goal_width

    def fits(self, later: Spaces) -> bool:
        """Whether a session that began with these spaces can go on in the `later` ones: they differ at most in words
        for the model, and no tool may take longer, because that long a lost call is waited for."""
        if not isinstance(self.action, ToolActions) or not isinstance(later.action, ToolActions):
            return self == later
        now = {tool.name: tool for tool in later.action.tools}
        began = {tool.name: tool.bare() for tool in self.action.tools}
        same = began == {name: tool.bare() for name, tool in now.items()}
        return same and all(now[tool.name].timeout_s <= tool.timeout_s for tool in self.action.tools)

    def describe(self) -> dict[str, JsonValue]:
        return self.model_dump(mode="json")


_SCHEMAS_BY_NAME = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
"""Keywords of JSON Schema whose members are named freely, so that a name among them is no keyword."""


def _without_words(schema: JsonValue) -> JsonValue:
    """A JSON Schema without its descriptions."""
    if isinstance(schema, list):
        return [_without_words(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    bare: dict[str, JsonValue] = {}
    for word, part in schema.items():
        if word in _SCHEMAS_BY_NAME and isinstance(part, dict):
            bare[word] = {name: _without_words(inner) for name, inner in part.items()}
        elif word in ("const", "enum", "default", "examples"):
            bare[word] = part
        elif word not in ("description", "title", "$comment"):
            bare[word] = _without_words(part)
    return bare


def move_array(action: Action) -> NDArray[Any]:
    """The array of a continuous move. Raises ValueError for any other action."""
    if isinstance(action, Move) and isinstance(action.to, Array):
        return action.to.numpy()
    raise ValueError(f"a continuous space takes a move with an array, not {action!r}")


def move_index(action: Action) -> int:
    """The index of a discrete move. Raises ValueError for any other action."""
    if isinstance(action, Move) and isinstance(action.to, int):
        return action.to
    raise ValueError(f"a discrete space takes a move with an index, not {action!r}")


def flatten(spaces: Spaces, observations: Sequence[Observation], goal: Goal | None) -> Vector:
    """Numeric parts in the order of `spaces`, then the achieved goal: float64, shape (spaces.width,)."""
    seen = {o.name: o.array for o in observations if isinstance(o, ArrayObservation)}
    pieces: list[Vector] = []
    for part in spaces.arrays:
        values = seen[part.name].numpy()
        if part.categories is None:
            pieces.append(values.astype(np.float64).ravel())
        else:
            pieces.append(_one_hot(int(values) - part.first, part.categories))
    if goal is not None:
        pieces.append(goal.achieved.numpy().astype(np.float64).ravel())
    return np.concatenate(pieces) if pieces else np.zeros(0)


def parts(spaces: Spaces, flat: Vector) -> Mapping[str, NDArray[Any]]:
    """The named numeric parts of a flat vector in their own shapes, of a discrete part the likeliest value."""
    named: dict[str, NDArray[Any]] = {}
    at = 0
    for part in spaces.arrays:
        piece = flat[at : at + part.width]
        at += part.width
        discrete = part.categories is not None
        named[part.name] = np.asarray(piece.argmax() + part.first) if discrete else piece.reshape(part.shape)
    if spaces.goal is not None:
        named[ACHIEVED] = flat[at : at + spaces.goal_width].reshape(spaces.goal)
    return named


def named_arrays(observations: Sequence[Observation], goal: Goal | None) -> Mapping[str, NDArray[Any]]:
    """What was seen by name, the achieved and desired goal among it."""
    named = {o.name: o.array.numpy() for o in observations if isinstance(o, ArrayObservation)}
    if goal is not None:
        named[ACHIEVED] = goal.achieved.numpy()
        named[DESIRED] = goal.desired.numpy()
    return named


def _one_hot(index: int, n: int) -> Vector:
    if not 0 <= index < n:
        raise ValueError(f"index {index} is not one of {n} categories")
    hot = np.zeros(n)
    hot[index] = 1.0
    return hot
