"""Where the traces of a log lie.

Invariant: whoever asks for a log's traces without naming a place, in whatever process of this user, is shown the
same."""

from __future__ import annotations

from pathlib import Path

from runtime.settings import Settings
from telemetry.log import EventLog, is_postgres


def traces_url(log: EventLog, settings: Settings, given: str | None = None) -> str:
    """A folder or an fsspec URL: the one that is given, else beside a log that is a file, and in AETHER_HOME of one
    that is elsewhere. There or not."""
    if given is not None:
        return given
    if is_postgres(log.url):
        return str(settings.home.expanduser() / "traces" / log.id)
    return str(Path(f"{log.url}.traces"))
