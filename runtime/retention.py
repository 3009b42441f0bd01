"""Archiving sessions and removing them from the log.

Knows which sessions may go: closed ones, whole or up to a closed cycle, as nobody could go on with another whose
beginning is gone. How a stream is archived and removed, the log knows.
Invariant: nothing is removed that the same call has not read back from its archive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from runtime.errors import UsageError
from runtime.fork import CUT, cut_before
from runtime.sessions import PREFIX, all_heads, opened, row_of, stream_of
from telemetry.errors import ArchiveDamaged
from telemetry.log import EventLog, Head
from telemetry.log.retention.archive import ArchiveFile, digest_of, name_of, write_archive

NS = 1_000_000_000


class Archived(BaseModel):
    """A session that stands in a file of its own."""

    model_config = ConfigDict(frozen=True)

    session: str
    file: str
    events: int
    version: int
    hash: str
    bytes: int
    new: bool
    """False when the file was there already and holds just this."""


class Gone(BaseModel):
    """A session of which events were removed. `fact` is the event that says so."""

    model_config = ConfigDict(frozen=True)

    session: str
    version: int
    """Up to which its events were removed."""
    left: int
    """How many stand still."""
    file: str
    fact: str


def closed_before(log: EventLog, moment: datetime) -> Iterator[str]:
    """Ids of the sessions that were closed before `moment`, which is UTC where it names no zone."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    until = int(moment.timestamp() * NS)
    for head in all_heads(log):
        closing = next(log.read_back(head.stream, types=("session.closed",)), None)
        if closing is not None and closing.at < until and row_of(log, head).status == "closed":
            yield head.stream.removeprefix(PREFIX)


def archive(log: EventLog, sessions: Sequence[str], folder: Path) -> Iterator[Archived]:
    """Archives each session to a file of its own in `folder`. Raises `NotFound`, `UsageError` for one that is not
    closed, before any is written; then what `write_archive` raises."""
    for name in sessions:
        _closed(log, name)
    for name in sessions:
        stream = stream_of(name)
        made, new = write_archive(log, stream, folder)
        path = folder / name_of(stream)
        yield Archived(
            session=stream.removeprefix(PREFIX),
            file=str(path),
            events=made.version - made.first + 1,
            version=made.version,
            hash=made.hash,
            bytes=path.stat().st_size,
            new=new,
        )


def prune(log: EventLog, session: str, folder: Path, *, to: int | None = None) -> Gone:
    """Removes the session's own events, or those up to version `to`, once its archive in `folder` was read back.

    Raises `NotFound`, `UsageError` for a session that is not closed or a version that closes no cycle, `LogNotFound`
    and `ArchiveDamaged` for the archive, and `LogError` while forks point to the session; nothing is removed then."""
    stream = stream_of(session)
    head = _closed(log, session)
    if to is not None and to != head.version:
        _check_cut(log, session, to)
    last = head.version if to is None else to
    path = folder / name_of(stream)
    end = _hash_at(path, stream, last)
    fact = log.prune(stream, to=last, hash_=end.hex(), archive=path.name, digest=digest_of(path))
    log.drop_snapshots(stream)
    return Gone(
        session=stream.removeprefix(PREFIX), version=last, left=head.version - last, file=str(path), fact=fact.id
    )


def _hash_at(path: Path, stream: str, version: int) -> bytes:
    """The hash at `version` of the stream in the archive, every event of which is read and checked."""
    found: bytes | None = None
    with ArchiveFile(path) as file:
        for event in file.events():
            found = event.hash if event.version == version else found
        archive = file.archive
    if found is None or archive.stream != stream:
        raise ArchiveDamaged(
            f"{path} holds {archive.stream} up to version {archive.version}, not version {version} of {stream}. "
            f"Nothing was removed. Try: aether log archive {stream.removeprefix(PREFIX)} --folder {path.parent}"
        )
    return found


def _closed(log: EventLog, session: str) -> Head:
    """The head of a session that is closed. Raises `NotFound`, `UsageError`."""
    stream = stream_of(session)
    head = log.head(stream)
    if head is None:
        opened(log, stream)  # says what is there instead, or where it went
        raise AssertionError("a session without a head was opened")
    status = row_of(log, head).status
    if status != "closed":
        raise UsageError(
            f"session {stream.removeprefix(PREFIX)} is {status}. Nothing was done: only closed sessions are archived "
            "and removed, as nobody could go on with one whose beginning is gone"
        )
    return head


def _check_cut(log: EventLog, session: str, version: int) -> None:
    found = next(log.read(stream_of(session), after=version - 1, to=version), None) if version > 0 else None
    if found is not None and found.type == CUT:
        return
    near = cut_before(log, session, max(version, 1))
    name = session.removeprefix(PREFIX)
    raise UsageError(
        f"version {version} of session {name} closes no cycle, and what stands must begin after one. Nothing was "
        f"removed. The nearest before it: aether log prune {name} --to {near} --folder FOLDER"
    )
