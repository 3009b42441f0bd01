"""What lies in Parquet, for those who read it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from telemetry.errors import TracesRefused
from telemetry.log import EventLog
from telemetry.query.rows.kinds import VERSION
from telemetry.query.traces.manifest import File, Manifest, read
from telemetry.query.traces.place import Elsewhere, Filesystem, Place, place_of


class Stretch(NamedTuple):
    """Of the log: where a stream's own events stand."""

    stream: str
    first: int
    last: int

    def may_be_in(self, file: File) -> bool:
        in_time = file.first <= self.last and self.first <= file.last
        return in_time and file.first_stream <= self.stream <= file.last_stream


@dataclass(frozen=True, slots=True)
class Stored:
    """The rows of all events up to `position`."""

    place: Place
    manifest: Manifest

    @property
    def position(self) -> int:
        return self.manifest.position

    @property
    def filesystem(self) -> Filesystem | None:
        """What reaches the files; None where they are files of this machine."""
        return self.place.filesystem if isinstance(self.place, Elsewhere) else None

    def files(self, kind: str, *, to: int, stretches: Collection[Stretch] | None = None) -> list[str]:
        """Those that may hold rows of that kind up to a position, of one of the stretches if given."""
        found = self.manifest.of(kind, to=to)
        if stretches is not None:
            found = [file for file in found if any(stretch.may_be_in(file) for stretch in stretches)]
        return self._full(found)

    def paths(self) -> list[str]:
        return self._full(self.manifest.files)

    def _full(self, files: Iterable[File]) -> list[str]:
        base = self.place.full("x").removesuffix("x")
        return [f"{base}{file.path}" for file in files]


def stored_at(log: EventLog, traces: str | None) -> Stored | None:
    """None where nothing lies there. Raises `TracesDamaged`, and `TracesRefused` for rows of another log, or of other
    columns than today's."""
    if traces is None:
        return None
    place = place_of(traces)
    manifest = read(place)
    if manifest is None:
        return None
    if manifest.log != log.id or not _goes_on(log, manifest):
        raise TracesRefused(f"the traces in {place.name} are not of {log.name}. Both are intact. {_AFRESH}")
    if manifest.rows != VERSION:
        raise TracesRefused(
            f"the traces in {place.name} are of version {manifest.rows}, and version {VERSION} is read here. {_AFRESH}"
        )
    if set(place.full("")) & _PATTERN:
        raise TracesRefused(f"{place.name} cannot be asked: DuckDB takes {' '.join(sorted(_PATTERN))} for a pattern")
    return Stored(place, manifest)


def _goes_on(log: EventLog, manifest: Manifest) -> bool:
    """Whether the log has the event that the rows end with; one that was archived and removed is believed."""
    if manifest.position > log.position():
        return False
    ends = log.read_all(after=manifest.position - 1, to=manifest.position) if manifest.position else iter(())
    return all(event.hash.hex() == manifest.hash for event in ends)


_PATTERN: Final = frozenset("*?[")
_AFRESH: Final = "Ask with others: --traces FOLDER; or make them anew in another folder: aether trace export"
