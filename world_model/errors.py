"""Errors of the world model.

    WorldModelError
    ├── ShapeError          arrays whose shapes do not fit the model or each other; also a ValueError
    ├── TooFewTransitions   less was lived than a model needs
    ├── TrainingStopped     what was learnt until then is at hand
    │   ├── Collapsed       latents that no longer tell apart what inputs tell apart
    │   └── LossNotFinite   a NaN or an infinity; names the batch's events
    └── CheckpointError     a saved model that cannot be used
        ├── NoCheckpoint    nothing is saved there
        ├── AlteredCheckpoint   it is not what was saved
        └── OtherLayout     it is of another environment's spaces

Every message says what failed, what is intact, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from world_model.jepa.model import Jepa


class WorldModelError(Exception):
    """Root of this package's errors."""


class ShapeError(WorldModelError, ValueError):
    pass


class TooFewTransitions(WorldModelError):
    def __init__(self, message: str, *, found: int, needed: int) -> None:
        super().__init__(message)
        self.found = found
        self.needed = needed


class TrainingStopped(WorldModelError):
    """`last_good`: the model at the last look at held-out sessions that was finite and not collapsed, if any."""

    def __init__(self, message: str, *, last_good: Jepa | None) -> None:
        super().__init__(message)
        self.last_good = last_good


class Collapsed(TrainingStopped):
    def __init__(self, message: str, *, reason: str, last_good: Jepa | None) -> None:
        super().__init__(message, last_good=last_good)
        self.reason = reason


class LossNotFinite(TrainingStopped):
    """`first_position` and `last_position` on the log, -1 where the batch came from none."""

    def __init__(self, message: str, *, first_position: int, last_position: int, last_good: Jepa | None) -> None:
        super().__init__(message, last_good=last_good)
        self.first_position = first_position
        self.last_position = last_position


class CheckpointError(WorldModelError):
    pass


class NoCheckpoint(CheckpointError):
    pass


class AlteredCheckpoint(CheckpointError):
    pass


class OtherLayout(CheckpointError, ShapeError):
    pass
