"""What a sink says of one request. Knows no protocol; which code means what, each sink knows.

Invariant: only `Taken` says that everything of the request is where it should be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Taken:
    warning: str = ""
    """What it was taken with, in the collector's words."""


@dataclass(frozen=True, slots=True)
class Again:
    """Nothing of it was taken, for a reason that passes. `after_s`: not before so long, where the collector says so."""

    why: str
    after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Faltered:
    """Nothing of it was taken: an error of the collector's own, which may pass or may lie in what was sent."""

    why: str


@dataclass(frozen=True, slots=True)
class Refused:
    """It will not be taken as it is. `rejected`: so many of its items, and the others were taken; None for all of it,
    whichever of them it was for."""

    why: str
    rejected: int | None = None


@dataclass(frozen=True, slots=True)
class TooLarge:
    """Nothing of it was taken, for its size."""

    why: str


@dataclass(frozen=True, slots=True)
class Barred:
    """Nothing will be taken from us there, whatever it is: a wrong address, or credentials that are none."""

    why: str


Answer: TypeAlias = Taken | Again | Faltered | Refused | TooLarge | Barred
