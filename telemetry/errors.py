"""Errors of the record.

    TelemetryError
    ├── EventError
    │   ├── InvalidEvent          a payload that is not of its declared type
    │   │   └── PayloadWithheld   it did not come with the record that the log was rebuilt from
    │   ├── UnknownCriticalEvent  a critical type this version does not know
    │   ├── VocabularyBroken      a type of this version cannot read its own older shapes; raised at import
    │   └── PayloadTooLarge       above MAX_PAYLOAD_BYTES, refused before anything is written
    ├── DatasetError
    │   ├── RecipeRefused         a recipe whose query or fields cannot be meant
    │   ├── DatasetExists         something else stands where it was to be put
    │   ├── DatasetUnwritable     no room, or no right to write there
    │   ├── DatasetNotFound       no dataset in that folder
    │   └── DatasetDamaged        its files are not what was written
    ├── TracesError
    │   ├── TracesHeld            another process writes them
    │   ├── TracesRefused         none are there, or they do not go on in this log
    │   ├── TracesDamaged         what lies there cannot be read as traces
    │   └── TracesUnwritable      no room, no right to write there, or nothing that reaches it
    ├── ExportFailed              what was to go out has not; the log holds it, and the cursor stands before it
    ├── QueryError
    │   ├── InvalidQuery          SQL that cannot be read or bound, or a parameter that does not fit
    │   ├── QueryRefused          more than one SELECT over our views
    │   ├── QueryTooLarge         it needs more memory or disk than it may take
    │   └── QueryStopped          it was cancelled
    └── LogError
        ├── LogNotFound           nothing at that URL
        ├── LogHeld               another live process is the writer
        ├── LogUnwritable         disk full or read-only; nothing of the append was kept
        │   └── LogUnreachable    its server does not answer; of an append the message says what is known
        ├── LogDamaged            the file cannot be read as a log
        │   └── ChainBroken       an event is not what was acknowledged
        ├── LogClosed             the log was closed while the call waited
        ├── ArchiveDamaged        it does not hold what it says
        ├── ImportRefused         what was to be imported is broken, or contradicts what stands
        ├── CursorRefused         a subscriber's cursor is damaged, or of another log
        │   └── CursorHeld        another process follows by it
        ├── InvalidSeal           the seal itself was altered, or is none
        ├── EventsPruned          they were archived and removed
        ├── StreamNotFound
        ├── WrongExpectedVersion  somebody else appended first
        ├── FencedWriter          a newer owner has taken the stream over
        └── IdempotencyConflict   the same command came again with other content

Every message says what failed, what is intact, and what to do next."""

from __future__ import annotations


class TelemetryError(Exception):
    """Root of this package's errors."""


class EventError(TelemetryError):
    pass


class InvalidEvent(EventError):
    pass


class PayloadWithheld(InvalidEvent):
    pass


class UnknownCriticalEvent(EventError):
    pass


class VocabularyBroken(EventError):
    pass


class PayloadTooLarge(EventError):
    pass


class DatasetError(TelemetryError):
    pass


class RecipeRefused(DatasetError):
    pass


class DatasetExists(DatasetError):
    pass


class DatasetUnwritable(DatasetError):
    pass


class DatasetNotFound(DatasetError):
    pass


class DatasetDamaged(DatasetError):
    pass


class TracesError(TelemetryError):
    pass


class TracesHeld(TracesError):
    pass


class TracesRefused(TracesError):
    pass


class TracesDamaged(TracesError):
    pass


class TracesUnwritable(TracesError):
    pass


class ExportFailed(TelemetryError):
    pass


class QueryError(TelemetryError):
    pass


class InvalidQuery(QueryError):
    pass


class QueryRefused(QueryError):
    pass


class QueryTooLarge(QueryError):
    pass


class QueryStopped(QueryError):
    pass


class LogError(TelemetryError):
    pass


class LogNotFound(LogError):
    pass


class LogHeld(LogError):
    """`owner` is the text of the lock file: pid, machine and time of the live writer."""

    def __init__(self, message: str, *, owner: str) -> None:
        super().__init__(message)
        self.owner = owner

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args[0], {"owner": self.owner})


class LogUnwritable(LogError):
    pass


class LogUnreachable(LogUnwritable):
    pass


class LogDamaged(LogError):
    pass


class ChainBroken(LogDamaged):
    pass


class LogClosed(LogError):
    pass


class ImportRefused(LogError):
    pass


class CursorRefused(LogError):
    pass


class CursorHeld(CursorRefused):
    pass


class InvalidSeal(LogError):
    pass


class ArchiveDamaged(LogError):
    pass


class EventsPruned(LogError):
    pass


class StreamNotFound(LogError):
    pass


class WrongExpectedVersion(LogError):
    """`expected` is what the caller thought the stream's version was, `found` what it is."""

    def __init__(self, message: str, *, expected: int, found: int) -> None:
        super().__init__(message)
        self.expected = expected
        self.found = found

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args[0], {"expected": self.expected, "found": self.found})


class FencedWriter(LogError):
    """`epoch` is the stale writer's, `current` the stream's."""

    def __init__(self, message: str, *, epoch: int, current: int) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.current = current

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args[0], {"epoch": self.epoch, "current": self.current})


class IdempotencyConflict(LogError):
    pass


def _rebuild(kind: type[LogError], message: str, extra: dict[str, object]) -> LogError:
    """Unpickles errors with keyword-only fields, so they cross process borders whole."""
    return kind(message, **extra)
