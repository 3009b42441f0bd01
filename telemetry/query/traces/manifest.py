"""Which files hold which rows, and up to where of the log: what is not in the latest manifest is not there.

Knows files by what stands in them; knows neither rows nor how they are written. Invariant: a manifest is never changed;
the next one has the next number, and whoever writes it second is told so. So a reader sees the rows of exactly the
events up to `position`, and a writer that was killed anywhere has added nothing or all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from telemetry.errors import TracesDamaged
from telemetry.query.traces.place import Place

FOLDER: Final = "manifest"

KEPT: Final = 8
"""Manifests that stay, for readers that have just asked which is the latest."""

RETRIES: Final = 3


class File(NamedTuple):
    """A file of rows of one kind, day and bucket, in the order of streams and positions."""

    path: str
    """`KIND/date=YYYY-MM-DD/bucket=NN/NAME.parquet`, in the place."""
    rows: int
    bytes: int
    table_bytes: int
    """What its rows take in memory, as a table."""
    first: int
    """Lowest and highest position, time of appending (UTC, µs) and stream of its rows."""
    last: int
    first_at: int
    last_at: int
    first_stream: str
    last_stream: str

    @property
    def partition(self) -> str:
        """`KIND/date=YYYY-MM-DD/bucket=NN`."""
        return self.path.rpartition("/")[0]

    @property
    def kind(self) -> str:
        return self.path.partition("/")[0]


class Dropped(NamedTuple):
    """A file that is no longer one of the traces, and when that was (UTC, ns): somebody may still read it."""

    path: str
    at: int


class Manifest(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int = 0
    log: str
    """Id of the log that the rows are of."""
    rows: int
    """Version of the rows (`kinds.VERSION`)."""
    buckets: int
    """Into how many the subjects are told."""
    position: int = 0
    """The rows of all events up to it are in the files, and of none after."""
    hash: str = ""
    """Of the event at `position`, in hex."""
    files: tuple[File, ...] = ()
    dropped: tuple[Dropped, ...] = ()

    def of(self, kind: str, *, to: int | None = None, stream: str | None = None) -> list[File]:
        """The files that may hold rows of that kind, up to a position, of one stream."""
        return [
            file
            for file in self.files
            if file.kind == kind
            and (to is None or file.first <= to)
            and (stream is None or file.first_stream <= stream <= file.last_stream)
        ]

    def partitions(self) -> dict[str, list[File]]:
        found: dict[str, list[File]] = {}
        for file in self.files:
            found.setdefault(file.partition, []).append(file)
        return found


def read(place: Place) -> Manifest | None:
    """The latest; None where there are no traces. Raises `TracesDamaged`."""
    for left in reversed(range(RETRIES)):
        numbers = list(_numbers(place))
        if not numbers:
            return None
        path = path_of(numbers[-1])
        try:
            return Manifest.model_validate(orjson.loads(place.read(path)))
        except FileNotFoundError as error:  # a writer has gone on and removed it
            if not left:
                raise _damaged(place, path, "it is gone") from error
        except (ValidationError, ValueError) as error:
            raise _damaged(place, path, str(error)) from error
    raise AssertionError("unreachable")


def commit(place: Place, manifest: Manifest) -> None:
    """Makes it the latest. Raises `Taken` where there is one of its number, `TracesUnwritable`."""
    place.create(path_of(manifest.number), orjson.dumps(manifest.model_dump(mode="json")))
    place.remove(path_of(number) for number in _numbers(place) if number <= manifest.number - KEPT)


def path_of(number: int) -> str:
    return f"{FOLDER}/{number:012}.json"


def _numbers(place: Place) -> Iterator[int]:
    for name in place.names(FOLDER):
        number, _, kind = name.partition(".")
        if kind == "json" and number.isdigit():
            yield int(number)


def _damaged(place: Place, path: str, why: str) -> TracesDamaged:
    return TracesDamaged(
        f"{place.full(path)} is no manifest of traces: {why}. The log is intact. Remove that folder's content to make "
        "the traces anew, or name another"
    )
