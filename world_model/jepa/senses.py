"""What each part of an observation is made of, told from its declared shape and from what was lived.

Knows shapes, types and distinct values; knows no environment. Invariant: every column of the flat observation
belongs to exactly one sense, in order."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np

from telemetry.events.values import Value
from world_model.experience import Experience
from world_model.layout import Layout, Part

MOST_CODES: Final = 16
"""An array of integers with at most this many distinct values is read as a grid of codes (MiniGrid has 11 kinds of
things), with more as a picture, whose brightness is a quantity."""

GOAL: Final = "the achieved goal"


class Sense(Value):
    """How the columns of one part are read. `vector`: quantities. `one_hot`: a choice. `image`: brightness over H × W
    × C. `grid`: over H × W × C, each of `codes` a category of its own."""

    name: str
    kind: Literal["vector", "one_hot", "image", "grid"]
    width: int
    shape: tuple[int, int, int] = (1, 1, 1)
    codes: tuple[float, ...] = ()


def senses_of(experience: Experience) -> tuple[Sense, ...]:
    layout = experience.layout
    senses: list[Sense] = []
    first = 0
    for part in layout.parts:
        senses.append(_sense(part, experience.seen_ND[:, first : first + part.width]))
        first += part.width
    if layout.goal:
        senses.append(Sense(name=GOAL, kind="vector", width=layout.goal))
    return tuple(senses)


def fits(senses: tuple[Sense, ...], layout: Layout) -> bool:
    """Whether these senses read observations of this layout."""
    widths = [part.width for part in layout.parts] + ([layout.goal] if layout.goal else [])
    return [sense.width for sense in senses] == widths


def _sense(part: Part, seen_NW: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Sense:
    if part.categories is not None:
        return Sense(name=part.name, kind="one_hot", width=part.width)
    shape = part.shape if len(part.shape) == 3 else (*part.shape, 1)
    if len(shape) != 3 or not part.dtype.startswith(("uint", "int", "bool")):
        return Sense(name=part.name, kind="vector", width=part.width)
    codes = np.unique(seen_NW[np.isfinite(seen_NW)])
    picture = (shape[0], shape[1], shape[2])
    if len(codes) <= MOST_CODES:
        return Sense(name=part.name, kind="grid", width=part.width, shape=picture, codes=tuple(map(float, codes)))
    if part.dtype == "uint8":
        return Sense(name=part.name, kind="image", width=part.width, shape=picture)
    return Sense(name=part.name, kind="vector", width=part.width)
