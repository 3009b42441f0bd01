"""What the heart felt and judged."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from telemetry.events.event import Event
from telemetry.events.values import Action, Appraisal, Digest

Unit = Annotated[float, Field(ge=0, le=1)]


class Felt(Event):
    """Affect: valence in [-1, 1], arousal in [0, 1], and how strongly each virtue was touched, in [0, 1]."""

    type: Literal["feel.felt"] = "feel.felt"
    valence: float = Field(ge=-1, le=1)
    arousal: Unit
    virtues: dict[str, Unit] = {}


class Appraised(Event):
    """What was asked, or one proposal, was judged. `constraints` bind the reasoning that follows."""

    type: Literal["feel.appraised"] = "feel.appraised"
    appraisal: Appraisal
    constraints: tuple[str, ...] = ()


class Inhibited(Event):
    """A proposal that would have been chosen was held back."""

    type: Literal["feel.inhibited"] = "feel.inhibited"
    proposal: int
    arguments: Digest
    rules: tuple[str, ...]


class AlternativeOffered(Event):
    """What the heart offers in place of an inhibited proposal; without `proposal`, `action` is the heart's own."""

    type: Literal["feel.alternative_offered"] = "feel.alternative_offered"
    instead_of: int
    proposal: int | None = None
    action: Action
    why: str
