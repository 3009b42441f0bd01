"""A stream in a Parquet file of its own, from which it can be had back bit for bit.

Knows files and columns; when a stream may be archived or removed, others decide. pyarrow is loaded when it is used.
Invariant: a file under its final name was on disk, read back and chained to the stream's head before it got there."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self
from urllib.parse import quote

import orjson

from telemetry.errors import ArchiveDamaged, InvalidEvent, LogHeld, LogNotFound, StreamNotFound
from telemetry.events.envelope import GENESIS, Recorded, chain_hash
from telemetry.files import sync
from telemetry.locks import hold, holder
from telemetry.log.export import check_columns
from telemetry.log.rows import COLUMNS, KINDS, recorded
from telemetry.log.store import EventLog

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = "aetherloop-archive-1"
SUFFIX = ".parquet"
KEY = b"aetherloop"
"""Under which the file's metadata say what it holds."""

GROUP_EVENTS = 4_096
GROUP_BYTES = 16 * 1024 * 1024
"""A row group ends at the first of these: what is in memory at a time, and what is put back at a time."""

ASIDE, LOCK = ".aside-", ".lock"
WAIT_S = 600.0
"""How long one who archives waits for another who does: a session of a million events takes below a minute."""
PAUSE_S = 0.05

MAX_NAME = 200
"""Characters of a file's name; a longer stream's is cut and told apart by a digest."""


@dataclass(frozen=True, slots=True)
class Archive:
    """What a file says of itself: the own events of `stream`, versions `first` to `version`, of the log `log`. The
    chain leads from `before` to `hash`, both in hex."""

    stream: str
    log: str
    first: int
    version: int
    before: str
    hash: str


def name_of(stream: str) -> str:
    """The name of the stream's file: `session%2F7f3a9c01d2e4.parquet`."""
    name = quote(stream, safe="")
    if len(name) > MAX_NAME:
        name = f"{name[:150]}-{hashlib.sha256(stream.encode()).hexdigest()[:16]}"
    return name + SUFFIX


def write_archive(log: EventLog, stream: str, folder: Path) -> tuple[Archive, bool]:
    """Archives the stream's own events up to its head; False when the file was there and holds just these. One caller
    at a time writes in a folder, so that none puts an older archive in the place of another's.

    Raises `StreamNotFound`, `EventsPruned` when some of it is gone, `ArchiveDamaged` when what was written does not
    read back to the head's hash, or when a damaged file of that name is there, and `LogHeld` where another archives
    there for too long; no file is changed then."""
    if log.head(stream) is None:
        raise StreamNotFound(f"there is no {stream} in {log.name} to archive")
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        return _written(log, stream, folder)


def _written(log: EventLog, stream: str, folder: Path) -> tuple[Archive, bool]:
    head = log.head(stream)
    if head is None:
        raise StreamNotFound(f"there is no {stream} in {log.name} to archive any more")
    path = folder / name_of(stream)
    if path.exists():
        there = verify_archive(path)
        if (there.stream, there.hash) == (stream, head.hash.hex()):
            return there, False
    origin = log.origin(stream)
    cut = 0 if origin is None else origin.at_version
    before = GENESIS.hex() if origin is None else origin.at_hash
    archive = Archive(stream, log.id, cut + 1, head.version, before, head.hash.hex())
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=ASIDE, suffix=SUFFIX)
    aside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _write(file, archive, log.read(stream, after=cut, to=head.version))
            file.flush()
            os.fsync(file.fileno())
        found = verify_archive(aside)
        if found != archive:
            raise _damaged(aside, f"it says that it holds {found}, not {archive}")
        aside.replace(path)
        sync(folder)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    return archive, True


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """What was left aside by those who are no more goes first."""
    path, until = folder / LOCK, time.monotonic() + WAIT_S
    while (lock := hold(path)) is None:
        if time.monotonic() > until:
            owner = holder(path)
            raise LogHeld(
                f"{owner} has been archiving into {folder} for {WAIT_S:g} s. Nothing was written here, and what is "
                "there is intact. Try again when it is done, or name another folder",
                owner=owner,
            )
        time.sleep(PAUSE_S)
    with lock:
        try:
            for left in folder.glob(f"{ASIDE}*"):
                left.unlink(missing_ok=True)
            yield
        finally:
            path.unlink(missing_ok=True)


def verify_archive(path: Path) -> Archive:
    """What the file holds, once every event of it was read and chains to what the file says. Raises `LogNotFound`,
    `ArchiveDamaged`."""
    with ArchiveFile(path) as file:
        for _ in file.events():
            pass
        return file.archive


def read_archive(path: Path) -> Archive:
    """What the file says that it holds, unverified. Raises as `verify_archive`."""
    with ArchiveFile(path) as file:
        return file.archive


def digest_of(path: Path) -> str:
    """SHA-256 of the file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class ArchiveFile:
    """An archive that is read. Raises `LogNotFound` and `ArchiveDamaged`, on opening and on reading."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if not path.is_file():
            raise LogNotFound(f"there is no archive at {path}. Check the folder; `aether log archive` writes one.")
        self._path = path
        try:
            self._file = pq.ParquetFile(path)
            self.archive = _described(self._file.schema_arrow)
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
            raise _damaged(path, str(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def groups(self) -> int:
        return int(self._file.num_row_groups)

    def group(self, number: int) -> list[Recorded]:
        """The events of one group of rows, in order; payloads and contents are those of their digests."""
        import pyarrow as pa

        try:
            rows = self._file.read_row_group(number).to_pylist()
            events = [recorded(tuple(row[name] for name in COLUMNS), row["content"]) for row in rows]
            for event in events:
                check_columns(event)
        except (pa.ArrowException, OSError, ValueError, KeyError, InvalidEvent) as error:
            raise _damaged(self._path, str(error)) from error
        return events

    def events(self) -> Iterator[Recorded]:
        """Every event, in order, once it follows on the one before; at the end the last is the archive's."""
        archive = self.archive
        previous, version = bytes.fromhex(archive.before), archive.first - 1
        for number in range(self.groups):
            for event in self.group(number):
                previous, version = chain_hash(previous, event.header(), event.digest), version + 1
                if (event.stream, event.version, event.hash) != (archive.stream, version, previous):
                    raise _damaged(self._path, f"{event.id} does not follow on version {version - 1}")
                yield event
        if (version, previous.hex()) != (archive.version, archive.hash):
            raise _damaged(self._path, f"it ends at version {version}, not {archive.version} with {archive.hash[:12]}…")


def _write(file: BinaryIO, archive: Archive, events: Iterable[Recorded]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(archive)
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _groups(events):
            columns = {name: [getattr(event, name) for event in group] for name in (*COLUMNS, "content")}
            writer.write_table(pa.table(columns, schema=schema), row_group_size=len(group))


def _groups(events: Iterable[Recorded]) -> Iterator[list[Recorded]]:
    group: list[Recorded] = []
    bytes_ = 0
    for event in events:
        group.append(event)
        bytes_ += len(event.payload) + len(event.content or b"")
        if len(group) == GROUP_EVENTS or bytes_ >= GROUP_BYTES:
            yield group
            group, bytes_ = [], 0
    if group:
        yield group


def _schema(archive: Archive) -> pa.Schema:
    import pyarrow as pa

    kinds = {int: pa.int64(), bytes: pa.binary(), str: pa.string()}
    fields = [pa.field(name, kinds[kind], nullable=False) for name, kind in zip(COLUMNS, KINDS, strict=True)]
    said = orjson.dumps({"format": FORMAT, **asdict(archive)}, option=orjson.OPT_SORT_KEYS)
    return pa.schema([*fields, pa.field("content", pa.binary())], metadata={KEY: said})


def _described(schema: pa.Schema) -> Archive:
    """Raises KeyError, TypeError or ValueError for a file that says nothing of the kind."""
    said = orjson.loads((schema.metadata or {})[KEY])
    if said.pop("format") != FORMAT:
        raise ValueError("it is an archive of another version")
    return Archive(**said)


def _damaged(path: Path, why: str) -> ArchiveDamaged:
    return ArchiveDamaged(f"{path} is no whole archive: {why}. It was not touched. Use another copy, or archive again.")
