"""Where a session stood at a closed cycle, kept beside its log so that taking it up need not fold all of it.

Knows what makes a snapshot sound; knows no file and no table. Invariant: a session that is taken up from a snapshot
stands where it would stand without one, so every snapshot may be removed at any time."""

from __future__ import annotations

import hashlib
from asyncio import Future, get_running_loop
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from itertools import islice
from pathlib import Path

from pydantic import ValidationError

import loops
import telemetry.events
from loops.rebuild import ENVELOPE_BYTES, Standing, rebuild
from loops.state import REDUCER, state_hash
from telemetry.errors import InvalidEvent, LogDamaged, LogError
from telemetry.events import Recorded, session
from telemetry.events.values import Digest, Value
from telemetry.files import digest_files
from telemetry.log import EventLog
from telemetry.log.facts import Anchor
from telemetry.log.lineage import lineage

MIN_BYTES = 1024 * 1024
SHARE = 4
"""A snapshot is due when the bytes since the last exceed max(MIN_BYTES, SHARE × its size) (architecture, "The log's
promises"): what is folded again stays under a tenth of a second, and snapshots under a quarter of their log."""

MAX_SNAPSHOT_BYTES = 16 * 1024 * 1024
"""A scene with more in it is not kept: a conversation's context is 100 KB."""

ATTEMPTS = 4
"""How many snapshots of one stream are looked at: where these do not hold, older ones will not."""

CLOSED = "session.cycle_closed"


class Snapshot(Value):
    """`hash` is that of the event `standing.version`, which closed a cycle."""

    code: Digest
    """Of the code that folded it: another may see the same events in another way."""
    reducer: int
    log: str
    stream: str
    hash: Digest
    standing: Standing

    @property
    def anchor(self) -> Anchor:
        return Anchor(self.standing.version, bytes.fromhex(self.hash), self.standing.positions[CLOSED])


def write(log: EventLog, stream: str, standing: Standing, end: bytes) -> bytes:
    """The bytes of a snapshot, behind their digest; `end` is the hash of the event that `standing` stands at."""
    snapshot = Snapshot(
        code=code_digest(),
        reducer=REDUCER,
        log=log.id,
        stream=stream,
        hash=end.hex(),
        standing=standing._replace(size_bytes=0),
    )
    body = snapshot.model_dump_json().encode()
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def read(content: bytes) -> Snapshot | None:
    """The snapshot of these bytes, if they are whole and of this code."""
    digest, _, body = content.partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        return None
    try:
        snapshot = Snapshot.model_validate_json(body)
    except ValidationError:
        return None
    return snapshot if (snapshot.code, snapshot.reducer) == (code_digest(), REDUCER) else None


def holds(log: EventLog, stream: str, snapshot: Snapshot) -> bool:
    """Whether it is of this stream, and the log says of its version what it says: the same event, the same state."""
    version = snapshot.standing.version
    if (snapshot.log, snapshot.stream) != (log.id, stream):
        return False
    recorded = next(log.read(stream, after=version - 1, to=version), None)
    if recorded is None or snapshot.standing.positions.get(CLOSED) != recorded.position:
        return False
    if recorded.hash.hex() != snapshot.hash or hashlib.sha256(recorded.payload).digest() != recorded.digest:
        return False
    try:
        event = recorded.event
    except InvalidEvent:
        return False
    recorded_state = (event.reducer, event.state_hash) if isinstance(event, session.CycleClosed) else None
    return recorded_state == (REDUCER, state_hash(snapshot.standing.state))


def newest(log: EventLog, stream: str) -> tuple[Snapshot | None, int]:
    """The newest sound snapshot of the stream or of what it shares with its ancestors; and where none of its own holds,
    how many do not."""
    head, unsound = log.head(stream), 0
    if head is None:
        return None, 0
    for owner, to in lineage(log.origin, stream, to=head.version):
        for version, content in islice(log.snapshots(owner, to=to), ATTEMPTS):
            snapshot = read(content)
            if snapshot is not None and snapshot.standing.version == version and holds(log, owner, snapshot):
                return snapshot, 0 if owner == stream else unsound
            unsound += owner == stream
    return None, unsound


def stand(log: EventLog, stream: str, snapshot: Snapshot | None) -> Standing:
    """Where the session stands now, folded from `snapshot` on, or from its beginning. The chain is checked from there
    on; raises what `EventLog.facts` and `rebuild` raise, as they do from the beginning."""
    if snapshot is not None:
        try:
            return rebuild(log.facts(stream, start=snapshot.anchor), snapshot.standing)
        except (LogDamaged, InvalidEvent):
            pass  # the whole history tells what is wrong, and where first
    return rebuild(log.facts(stream))


class Keeper:
    """Takes a session up, and its snapshots when they are due; those in a thread, while the session goes on."""

    def __init__(self, log: EventLog, stream: str) -> None:
        self._log = log
        self._stream = stream
        self._since_bytes = 0
        """Of events since the last snapshot."""
        self._size_bytes = 0
        """Of the last snapshot."""
        self._unsound = False
        self._taking: Future[int] | None = None

    def load(self) -> Standing:
        """Where the session stands. Raises what `stand` raises."""
        snapshot, unsound = newest(self._log, self._stream)
        standing = stand(self._log, self._stream, snapshot)
        self._since_bytes = standing.size_bytes
        self._unsound = unsound > 0
        return standing

    def wrote(self, written: Sequence[Recorded]) -> None:
        """Counts what was committed."""
        self._since_bytes += sum(len(event.content or event.payload) + ENVELOPE_BYTES for event in written)

    @property
    def due(self) -> bool:
        if self._taking is not None:
            if not self._taking.done():
                return False
            self._size_bytes, self._taking = self._taking.result(), None
        return self._since_bytes > max(MIN_BYTES, SHARE * self._size_bytes)

    def take(self, standing: Standing, end: bytes) -> None:
        """Begins to keep `standing`, of a closed cycle whose event has the hash `end`."""
        self._since_bytes = 0
        self._taking = get_running_loop().run_in_executor(None, self._take, standing, end)

    async def rest(self) -> None:
        """Waits for a snapshot that is being taken."""
        if self._taking is not None:
            await self._taking

    def _take(self, standing: Standing, end: bytes) -> int:
        content = write(self._log, self._stream, standing, end)
        if len(content) <= MAX_SNAPSHOT_BYTES:
            with suppress(LogError):  # no room for it, or the log was closed: the session is only slower to take up
                if self._unsound:
                    self._log.drop_snapshots(self._stream)
                    self._unsound = False
                self._log.put_snapshot(self._stream, standing.version, content)
        return len(content)


@cache
def code_digest() -> Digest:
    """SHA-256 of all that a fold can depend on: the events, and the loop."""
    return digest_files(_sources())


def _sources() -> Iterator[Path]:
    for package in (telemetry.events, loops):
        assert package.__file__ is not None, "a package of ours has an __init__.py"
        yield from sorted(Path(package.__file__).parent.glob("*.py"))
