"""Where the traces of a log lie, and what keeps them.

Invariant: whoever asks for a log's traces without naming a place, in whatever process of this user, is shown the
same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runtime.errors import UsageError
from runtime.settings import Settings, in_upload
from telemetry.log import EventLog, is_postgres
from telemetry.otel.export.follower import Follower, Lag, lag_of

if TYPE_CHECKING:
    from telemetry.query.traces.writer import Traces

BESIDE: Final = "beside"
"""What stands for the place beside the log where one is named."""


def traces_url(log: EventLog, settings: Settings, given: str | None = None) -> str:
    """A folder or an fsspec URL, there or not: what is given, else what the settings say, else beside a log that is a
    file, and in AETHER_HOME of one that is elsewhere. Raises as `named_place` does."""
    named = named_place(given or settings.telemetry.parquet)
    if named is not None:
        return named
    if is_postgres(log.url):
        return str(settings.home.expanduser() / "traces" / log.id)
    return str(Path(f"{log.url}.traces"))


def named_place(named: str | None) -> str | None:
    """A URL as it is, a folder as an absolute path, None for the place beside the log. Raises `UsageError` for a folder
    that Ray would delete with the job's upload."""
    if named is None or named == BESIDE:
        return None
    if "://" in named:
        return named
    folder = Path(named).expanduser().absolute()
    if in_upload(folder):
        raise UsageError(
            f"the traces {named!r} would lie in this job's upload, which Ray deletes with the job. Give an absolute "
            f"path outside it, or {BESIDE!r}"
        )
    return str(folder)


@contextmanager
def parquet_follower(log: EventLog, url: str) -> Iterator[Follower]:
    """Keeps the rows of `log` there. Raises what `Traces` does."""
    from telemetry.query.traces.writer import Traces

    with Traces(log, url) as traces:
        yield _Keeper(log, traces)


class _Keeper:
    name = "traces"

    def __init__(self, log: EventLog, traces: Traces) -> None:
        self._log = log
        self._traces = traces

    def step(self, *, wait_s: float) -> bool:
        return self._traces.step(wait_s=wait_s)

    def stop(self) -> None:
        self._traces.stop()

    def lag(self) -> Lag:
        """What it has taken counts as done: it is put on disk as it ends, and is on the log until then."""
        return lag_of(self._log, self._traces.seen)
