"""Errors of the runtime, each with the exit code that the CLI ends in.

RuntimeFailure            1
├── UsageError            2  a scenario, setting or argument that cannot be meant
├── NotFound              3  no such session, environment, model, event or log; or it is archived or withheld
├── VerificationFailed    4  a log, a replay or a model is not what was recorded
├── Refused               5  ethics or consent
└── Unavailable           6  somebody else holds it, or there is no room or resource"""

from __future__ import annotations

from heart.errors import HeartError, RegionMismatch
from loops.errors import EnvironmentNotFound, LoopError, NoRoom, NothingToLearn, ScenarioInvalid, SpacesDiffer
from memory.errors import MemoryFault
from telemetry.errors import (
    ArchiveDamaged,
    CursorRefused,
    DatasetDamaged,
    DatasetExists,
    DatasetNotFound,
    DatasetUnwritable,
    EventsPruned,
    ExportFailed,
    ImportRefused,
    InvalidQuery,
    InvalidSeal,
    LogDamaged,
    LogHeld,
    LogNotFound,
    LogUnwritable,
    PayloadWithheld,
    QueryRefused,
    QueryStopped,
    RecipeRefused,
    StreamNotFound,
    TelemetryError,
    TracesDamaged,
    TracesHeld,
    TracesRefused,
    TracesUnwritable,
)
from world_model.errors import AlteredCheckpoint, NoCheckpoint, OtherLayout, TooFewTransitions, WorldModelError

DONE, FAILED, INTERRUPTED = 0, 1, 130


class RuntimeFailure(Exception):
    exit_code = 1


class UsageError(RuntimeFailure):
    exit_code = 2


class NotFound(RuntimeFailure):
    exit_code = 3


class VerificationFailed(RuntimeFailure):
    exit_code = 4


class Refused(RuntimeFailure):
    exit_code = 5


class Unavailable(RuntimeFailure):
    exit_code = 6


class Backpressure(Unavailable):
    """The host's mailbox is full; the call left nothing behind and can be made again."""


class OwnedElsewhere(Unavailable):
    """Another host has taken the session up; this one writes nothing more of it. `owner` is that one's name on the log,
    None where it is whoever opened the session."""

    def __init__(self, message: str, *, owner: str | None = None) -> None:
        super().__init__(message)
        self.owner = owner


_CODES: tuple[tuple[type[Exception], int], ...] = (
    (ScenarioInvalid, UsageError.exit_code),
    (RegionMismatch, UsageError.exit_code),
    (InvalidQuery, UsageError.exit_code),
    (QueryRefused, UsageError.exit_code),
    (QueryStopped, INTERRUPTED),
    (EnvironmentNotFound, NotFound.exit_code),
    (LogNotFound, NotFound.exit_code),
    (StreamNotFound, NotFound.exit_code),
    (EventsPruned, NotFound.exit_code),
    (PayloadWithheld, NotFound.exit_code),
    (LogDamaged, VerificationFailed.exit_code),
    (ArchiveDamaged, VerificationFailed.exit_code),
    (ImportRefused, VerificationFailed.exit_code),
    (InvalidSeal, VerificationFailed.exit_code),
    (LogHeld, Unavailable.exit_code),
    (CursorRefused, Unavailable.exit_code),
    (LogUnwritable, Unavailable.exit_code),
    (TracesHeld, Unavailable.exit_code),
    (TracesUnwritable, Unavailable.exit_code),
    (TracesRefused, UsageError.exit_code),
    (TracesDamaged, VerificationFailed.exit_code),
    (ExportFailed, Unavailable.exit_code),
    (NothingToLearn, NotFound.exit_code),
    (SpacesDiffer, UsageError.exit_code),
    (NoRoom, Unavailable.exit_code),
    (TooFewTransitions, UsageError.exit_code),
    (NoCheckpoint, NotFound.exit_code),
    (RecipeRefused, UsageError.exit_code),
    (DatasetExists, UsageError.exit_code),
    (DatasetNotFound, NotFound.exit_code),
    (DatasetDamaged, VerificationFailed.exit_code),
    (DatasetUnwritable, Unavailable.exit_code),
    (AlteredCheckpoint, VerificationFailed.exit_code),
    (OtherLayout, UsageError.exit_code),
)
"""Exit codes of the errors that lower rooms raise; the rest of theirs are plain failures."""

EXPECTED = (RuntimeFailure, LoopError, HeartError, WorldModelError, MemoryFault, TelemetryError)
"""Errors with a message for people; any other exception is a mistake of ours and keeps its traceback."""


def exit_code_of(error: Exception) -> int:
    """The exit code that `error` ends a command with."""
    if isinstance(error, RuntimeFailure):
        return error.exit_code
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)
