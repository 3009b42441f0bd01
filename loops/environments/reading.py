"""How the spaces of a Gymnasium environment are read: each step checked, then turned into our values.

Knows shapes, dtypes and bounds; knows nothing of episodes. Invariant: what `check` lets pass has the declared
names, shapes, dtypes and bounds and is finite, so `record` can't fail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from loops.errors import ScenarioInvalid
from loops.spaces import ACHIEVED, DESIRED, ActionSpace, ArrayPart, BoxActions, DiscreteActions, TextPart
from telemetry.errors import InvalidEvent
from telemetry.events.values import Array, ArrayObservation, Goal, Observation, Text

WHOLE = "observation"
"""Name of the only part of a space that is no Dict."""

Numbers = NDArray[Any]
Checked = Mapping[str, Numbers | str]
Key = str | int


class Misfit(Exception):
    """What was seen is not what the space declares; the message says what was expected and what was found."""


@dataclass(frozen=True, slots=True)
class _Leaf:
    """One part and the keys that lead to it; `low` and `high` where they bound tighter than the dtype."""

    path: tuple[Key, ...]
    part: ArrayPart | TextPart
    dtype: np.dtype[Any] | None = None
    low: Numbers | None = None
    high: Numbers | None = None

    def check(self, value: object) -> Numbers | str:
        """`value` as it is recorded. Raises `Misfit`."""
        if isinstance(self.part, ArrayPart):
            return self._index(self.part, value) if self.part.categories else self._array(self.part, value)
        if isinstance(value, str):
            return value
        raise Misfit(f'"{self.part.name}" should be text; found {type(value).__name__}')

    def _index(self, part: ArrayPart, value: object) -> Numbers:
        last = part.first + part.width - 1
        index = np.asarray(value)
        if index.shape == () and index.dtype.kind in "iu" and part.first <= int(index) <= last:
            return index.astype(np.int64)
        raise Misfit(f'"{part.name}" should be an integer from {part.first} to {last}; found {value!r:.80}')

    def _array(self, part: ArrayPart, value: object) -> Numbers:
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise self._misfit(f"what is no array: {error}") from error
        if array.dtype != self.dtype or array.shape != part.shape:
            raise self._misfit(f"{array.dtype.name} of shape {array.shape}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise self._misfit(_first(array, ~np.isfinite(array)))
        if self.low is not None and (array < self.low).any():
            wrong = array < self.low
            raise self._misfit(_first(array, wrong), f" and at least {self.low[wrong][0]}")
        if self.high is not None and (array > self.high).any():
            wrong = array > self.high
            raise self._misfit(_first(array, wrong), f" and at most {self.high[wrong][0]}")
        return array

    def _misfit(self, found: str, bound: str = "") -> Misfit:
        assert isinstance(self.part, ArrayPart)
        expected = f"finite {self.part.dtype} of shape {self.part.shape}{bound}"
        return Misfit(f'"{self.part.name}" should be {expected}; found {found}')


class Reading:
    """Reads Box, Discrete, MultiBinary, MultiDiscrete and text, alone or in Dicts and Tuples of any depth.

    Parts are named by their keys, joined by dots, and `observation` where there is none. `achieved_goal` and
    `desired_goal` of equal shape are the goal, not parts. Raises `ScenarioInvalid` for other spaces."""

    def __init__(self, space: Space[Any]) -> None:
        self._keys = tuple(_keys(space, ()))
        self._leaves = tuple(_leaves(space, ()))
        if len({leaf.part.name for leaf in self._leaves}) < len(self._leaves):
            raise ScenarioInvalid(f"two parts of the observation space have one name: {space}")
        self._goal = _goal_shape(self._leaves)
        hidden = () if self._goal is None else (ACHIEVED, DESIRED)
        self._shown = tuple(leaf.part for leaf in self._leaves if leaf.part.name not in hidden)

    @property
    def parts(self) -> tuple[ArrayPart | TextPart, ...]:
        return self._shown

    @property
    def goal(self) -> tuple[int, ...] | None:
        """Shape of goal space."""
        return self._goal

    def check(self, seen: object) -> Checked:
        """Every part by name. Raises `Misfit` for other keys, shapes or dtypes, NaN, and out of bounds."""
        for path, keys in self._keys:
            branch = _at(seen, path)
            if not (isinstance(branch, dict) and branch.keys() == keys) and _keys_of(branch) != keys:
                raise Misfit(f"{_name(path)} should hold {_words(keys)}; found {_words(_keys_of(branch))}")
        return {leaf.part.name: leaf.check(_at(seen, leaf.path)) for leaf in self._leaves}

    def record(self, checked: Checked) -> tuple[tuple[Observation, ...], Goal | None]:
        """What passed `check`, as it stands in events."""
        observations = tuple(_observation(part.name, checked[part.name]) for part in self._shown)
        if self._goal is None:
            return observations, None
        achieved, desired = (Array.of(np.asarray(checked[name])) for name in (ACHIEVED, DESIRED))
        return observations, Goal(achieved=achieved, desired=desired)


def actions_of(space: Space[Any], *, quantum: float | None = None) -> ActionSpace:
    """Box with finite bounds, rounded to `quantum`, or Discrete. Raises `ScenarioInvalid` for any other."""
    match space:
        case spaces.Discrete():
            return DiscreteActions(n=int(space.n), first=int(space.start))
        case spaces.Box() if np.isfinite(space.low).all() and np.isfinite(space.high).all():
            _storable(space, "action")
            return BoxActions(low=Array.of(space.low), high=Array.of(space.high), quantum=quantum)
        case spaces.Box():
            raise ScenarioInvalid(f"action space {space} is not supported: its bounds have to be finite")
    raise ScenarioInvalid(f"action space {space} is not supported; Box with finite bounds and Discrete are")


def _observation(name: str, value: Numbers | str) -> Observation:
    if isinstance(value, str):
        return Text(name=name, text=value)
    return ArrayObservation(name=name, array=Array.of(value))


def _goal_shape(leaves: Sequence[_Leaf]) -> tuple[int, ...] | None:
    parts = {leaf.part.name: leaf.part for leaf in leaves}
    achieved, desired = parts.get(ACHIEVED), parts.get(DESIRED)
    if not isinstance(achieved, ArrayPart) or not isinstance(desired, ArrayPart):
        return None
    comparable = achieved.shape == desired.shape and not achieved.categories and not desired.categories
    return achieved.shape if comparable else None


def _leaves(space: Space[Any], path: tuple[Key, ...]) -> Iterator[_Leaf]:
    name = ".".join(map(str, path)) or WHOLE
    match space:
        case spaces.Dict() | spaces.Tuple():
            for key, inner in _inner(space):
                yield from _leaves(inner, (*path, key))
        case spaces.Discrete():
            part = ArrayPart(name=name, shape=(), dtype="int64", categories=int(space.n), first=int(space.start))
            yield _Leaf(path, part)
        case spaces.Box():
            low, high = _bound(space.low, "min"), _bound(space.high, "max")
            yield _Leaf(path, _dense(space, name), space.dtype, low, high)
        case spaces.MultiBinary() | spaces.MultiDiscrete():
            yield _Leaf(path, _dense(space, name), space.dtype)
        case _ if space.dtype is not None and space.dtype.kind == "U":  # Text, and MiniGrid's missions
            yield _Leaf(path, TextPart(name=name))
        case _:
            raise ScenarioInvalid(f'"{name}" of the observation space is not supported: {space}')


def _dense(space: Space[Any], name: str) -> ArrayPart:
    return ArrayPart(name=name, shape=space.shape or (), dtype=_storable(space, name))


def _storable(space: Space[Any], name: str) -> str:
    """The space's dtype, when events can hold it."""
    try:
        return Array.of(np.zeros(0, dtype=space.dtype)).dtype
    except InvalidEvent as error:
        raise ScenarioInvalid(f'"{name}" is not supported: {space}: {error}') from error


def _bound(limit: Numbers, side: str) -> Numbers | None:
    """`limit` unless the dtype alone already keeps to it."""
    if limit.dtype.kind == "f":
        return limit if np.isfinite(limit).any() else None
    if limit.dtype.kind == "b":
        return None
    return limit if (limit != getattr(np.iinfo(limit.dtype), side)).any() else None


def _keys(space: Space[Any], path: tuple[Key, ...]) -> Iterator[tuple[tuple[Key, ...], frozenset[Key]]]:
    """The keys of every Dict and Tuple in `space`, by the path that leads there."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        yield path, frozenset(key for key, _ in _inner(space))
        for key, inner in _inner(space):
            yield from _keys(inner, (*path, key))


def _inner(space: spaces.Dict | spaces.Tuple[Any]) -> Iterator[tuple[Key, Space[Any]]]:
    yield from space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)


def _keys_of(seen: object) -> frozenset[Key] | None:
    match seen:
        case Mapping():
            return frozenset(seen)
        case tuple() | list():
            return frozenset(range(len(seen)))
    return None


def _at(seen: object, path: tuple[Key, ...]) -> object:
    for key in path:
        seen = seen[key]  # type: ignore[index]  # `check` compared the keys on the way here
    return seen


def _name(path: tuple[Key, ...]) -> str:
    return f'"{".".join(map(str, path))}"' if path else "the observation"


def _words(keys: frozenset[Key] | None) -> str:
    return "no keys" if keys is None else ", ".join(sorted(map(str, keys)))


def _first(array: Numbers, where: Numbers) -> str:
    """The first element that `where` marks and its place."""
    place = tuple(int(axis[0]) for axis in np.nonzero(np.atleast_1d(where)))
    return f"{np.atleast_1d(array)[place]} at {list(place)}" if array.shape else str(array)
