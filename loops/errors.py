"""Errors of the loop.

LoopError
├── EnvironmentNotFound     no environment of that name; `nearest` are the closest ones
├── EnvironmentFailed       it raised, hung, answered NaN or left its declared spaces
├── ToolFailed              a tool call could not be made, raised, took too long or was found not to have happened
├── ScenarioInvalid         parts of a scenario do not fit each other
├── NothingToLearn          no session, or none of them moved in a world of numbers
├── SpacesDiffer            sessions that were to be learnt from together show or take different things
├── NoRoom                  a training asks for more than the cluster has
├── TrainingLost            the workers of a training died again and again
├── StateTooLarge           the session's state passed its bound
├── Diverged                a rebuilt simulator answered other than the log says
└── Behind                  a replica needs history from the log before it can answer"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from loops.percept import Percept
    from telemetry.events.values import Digest


class LoopError(Exception):
    """Root of this package's errors."""


class EnvironmentNotFound(LoopError):
    def __init__(self, message: str, nearest: tuple[str, ...] = ()) -> None:
        super().__init__(message, nearest)
        self.nearest = nearest

    def __str__(self) -> str:
        return str(self.args[0])


class EnvironmentFailed(LoopError):
    """`kind` is that of `execute.failed`."""

    def __init__(self, message: str, kind: Literal["raised", "timeout", "invalid", "lost"] = "raised") -> None:
        super().__init__(message, kind)
        self.kind = kind

    def __str__(self) -> str:
        return str(self.args[0])


class ToolFailed(LoopError):
    """`kind`: invalid (no such tool, or arguments it does not take: nothing was started), raised, timeout (it may
    still happen), lost (its server died: it may have happened), not_done (a probe or an undo made sure of that),
    fenced (it was stopped just before it was sent: another executor, owner or time was named for it)."""

    def __init__(
        self, message: str, kind: Literal["invalid", "raised", "timeout", "lost", "not_done", "fenced"] = "raised"
    ) -> None:
        super().__init__(message, kind)
        self.kind = kind

    def __str__(self) -> str:
        return str(self.args[0])


class ScenarioInvalid(LoopError):
    pass


class NothingToLearn(LoopError):
    pass


class SpacesDiffer(LoopError):
    pass


class NoRoom(LoopError):
    pass


class TrainingLost(LoopError):
    pass


class StateTooLarge(LoopError):
    pass


class Diverged(LoopError):
    """`recorded` is the digest that the log holds, `shown` what the simulator shows instead."""

    def __init__(self, message: str, recorded: Digest, shown: Percept) -> None:
        super().__init__(message, recorded, shown)
        self.recorded = recorded
        self.shown = shown

    def __str__(self) -> str:
        return str(self.args[0])


class Behind(LoopError):
    """The replica `replica` of the session `stream` has other history than the call needs.

    The caller restores it from the log and calls again; positional arguments keep it whole across processes."""

    def __init__(self, replica: Literal["world_model", "belief", "environment"], stream: str) -> None:
        super().__init__(replica, stream)
        self.replica = replica
        self.stream = stream
