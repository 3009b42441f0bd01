"""Where places in a log are kept: beside a log that is a file, and in AETHER_HOME of one that is elsewhere.

Invariant: whoever asks for a name of a log, in whatever process of this user, is shown the same folder."""

from __future__ import annotations

from pathlib import Path

from runtime.errors import UsageError
from runtime.settings import Settings
from telemetry.log import EventLog, is_postgres
from telemetry.log.projection.cursor import NAME, Cursor


def cursors_of(log: EventLog, settings: Settings) -> Path:
    """The folder of the log's cursors, there or not."""
    if is_postgres(log.url):
        return settings.home.expanduser() / "cursors" / log.id
    return Path(f"{log.url}.cursors")


def check_name(name: str) -> None:
    """Raises `UsageError` for what cannot be a cursor's name."""
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name of a cursor: 1 to 64 letters, digits, '_', '-' and '.', no dot first")


def cursor_of(log: EventLog, name: str, settings: Settings) -> Cursor:
    """The place kept under that name, held until it is closed. Raises what `Cursor` does."""
    return Cursor(log, name, folder=cursors_of(log, settings))
