"""What Ray Train can train: how a model says how it is begun, carried on, kept and finished.

Knows files, steps and looks; knows no Ray, no tensors and no model. The world model is the first (`world_model`). What
others would have to give: for heads of the heart, rows of `feedback` beside what was felt in place of transitions, and
one step over them; for an adapter of a language model, conversations as rows, the weights of the adapter alone as
state (the model under it is named, not kept), and a look that scores answers held out. Neither needs more than is here:
who shares a step with whom, when a state is kept and who is told of what is the same for all.

Invariant: a course that was begun from the state of another goes on as that one would have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa
from pydantic import JsonValue

Files = Mapping[str, bytes]
"""By name. JSON and safetensors: what is read here must run no code."""

Look = Mapping[str, JsonValue]
"""What a look at held-out rows showed. NaN and infinities are as Python's own JSON has them."""


@dataclass(frozen=True, slots=True)
class Post:
    """A worker's place among those that share every step."""

    rank: int
    workers: int
    device: str
    """As torch names it: `cpu` or `cuda:0`."""
    threads: int
    told: Callable[[Look], None]
    """Hears of every look; what the first worker says goes on to the caller."""
    stop: Callable[[int], bool]
    """Whether the steps that are done are enough; asked at every step. Only the first worker's answer may count."""


class Course(Protocol):
    """A training on one worker, between two of its steps. All workers make equal calls."""

    @property
    def ended(self) -> bool: ...

    @property
    def number(self) -> int:
        """Steps that are done, those of before a restart among them."""

    def advance(self) -> bool:
        """One step, which all workers make together; whether a look at held-out rows followed."""

    def agreed(self, value: float) -> float:
        """The first worker's value."""

    def state(self) -> Files:
        """All that a later process needs to go on. The same on every worker."""

    def finished(self) -> Files:
        """What was made, once it has ended."""


class Subject(Protocol):
    """What is to be trained, before anything is: it travels to the workers, so it is small and plain."""

    def begin(self, rows: Iterable[pa.Table], post: Post, state: Files | None) -> Course:
        """A course over all `rows`, whose order may be any; from its first step or from where `state` was taken."""

    def failed(self, error: Exception) -> Files | None:
        """What to tell the caller of an error that another try would only repeat, such as data that are too few; None
        of any other, which Ray Train then tries again."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a course ended: `files` are what it finished with, or what `Subject.failed` gave."""

    files: Files
    failed: bool
