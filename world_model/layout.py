"""What a model sees and does, as widths: the parts of a flat observation, the goal at its end, the controls.

Knows names, shapes and bounds; knows no environment. Invariant: two layouts are equal exactly when a model of one
can be used in the other."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from telemetry.events.values import Value


class Part(Value):
    """A named piece of the flat observation, in its place. `categories` is the length of a one-hot piece."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    categories: int | None = None

    @property
    def width(self) -> int:
        """Columns of the flat form."""
        if self.categories is not None:
            return self.categories
        width = 1
        for size in self.shape:
            width *= size
        return width


class Controls(Value):
    """What can be done. `box`: an array between `low` and `high`, flat. `discrete`: one of `width` choices, one-hot."""

    kind: Literal["box", "discrete"]
    width: int = Field(ge=1)
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


class Layout(Value):
    """`parts` in the order of the flat observation, then `goal` columns of the achieved goal, 0 where there is none."""

    parts: tuple[Part, ...]
    goal: int = Field(default=0, ge=0)
    controls: Controls

    @property
    def width(self) -> int:
        """D, the length of a flat observation with the achieved goal at its end."""
        return sum(part.width for part in self.parts) + self.goal

    def describe(self) -> str:
        """In words, for an error that shows two of them."""
        seen = ", ".join(f"{part.name} {part.shape}" for part in self.parts)
        return f"{seen}; goal of {self.goal}; {self.controls.kind} controls of {self.controls.width}"
