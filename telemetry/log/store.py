"""What a log promises, whatever keeps it.

Knows the vocabulary of streams, versions and positions; knows nothing of SQLite, files or threads.
Invariant: `tests/contract/` passes for every store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from telemetry.errors import EventsPruned
from telemetry.log.lineage import Origin

if TYPE_CHECKING:
    from telemetry.events.envelope import Draft, Recorded
    from telemetry.log.facts import Anchor, Fact
    from telemetry.log.latency import Latencies
    from telemetry.log.seal import Seal
    from telemetry.log.verify import VerifyReport


@dataclass(frozen=True, slots=True)
class Head:
    """The last event of a stream. `epoch` is the highest of its writers so far: it fences all lower ones."""

    stream: str
    version: int
    hash: bytes
    epoch: int
    position: int


class Removed(NamedTuple):
    """A stream's own events up to `version` are gone; what stands of it goes on from `hash`."""

    stream: str
    version: int
    hash: bytes
    epoch: int
    at: int
    """UTC ns of the fact."""
    archive: str

    @property
    def head(self) -> Head:
        """Where the stream ends when nothing of it stands."""
        return Head(self.stream, self.version, self.hash, self.epoch, 0)

    def error(self, log: str) -> EventsPruned:
        day = datetime.fromtimestamp(self.at / 1e9, UTC).date()
        return EventsPruned(
            f"the events of {self.stream} up to version {self.version} were archived and removed from {log} on {day}. "
            f"To get them back: aether log import {self.archive}, from the folder it was archived to"
        )


@dataclass(frozen=True, slots=True)
class Batch:
    """What a subscription saw up to and including `position`; `events` may be empty where no type matched."""

    events: tuple[Recorded, ...]
    position: int


class Subscription(Protocol):
    """Events in position order, each exactly once, first from disk and then as they are committed.

    Nothing is seen before it is durable. Not for several threads at once, except `close`."""

    @property
    def position(self) -> int:
        """The position up to which everything was handed over."""

    def next(self, timeout_s: float | None = None) -> Batch:
        """The next batch; after `timeout_s` without news an empty one at the same position.

        Raises `LogClosed` when the subscription or its log is closed."""

    def __iter__(self) -> Iterator[Batch]:
        """Batches that move the position, until the subscription or its log is closed."""

    def close(self) -> None:
        """Wakes a waiting `next`. May be called from any thread, and twice."""


Each: TypeAlias = "Callable[[Recorded], None]"


class EventLog(Protocol):
    """An append-only log of streams. Every method may be called from any thread.

    Versions of a stream count from 1 without a gap; positions count from 1 over the whole log without a gap,
    in commit order. A stream whose own first event is `session.forked` is a fork: the versions before it are its
    parent's events, shared and not copied, under the parent's name and at its positions.

    A call on a closed log raises `LogClosed`; a write to one opened for reading, `LogUnwritable`."""

    id: str
    """Made with the log and kept for its life."""
    url: str
    """What `open_log` opens it by again; it may hold a password."""
    name: str
    """What people may see of it: the URL without a password."""

    def submit(
        self, stream: str, drafts: Sequence[Draft], *, expected_version: int, epoch: int
    ) -> Future[tuple[Recorded, ...]]:
        """Appends all of `drafts` as versions `expected_version + 1`…, or none. Resolves after fsync.

        Many submitted together share one commit, and no failure among them touches another. A stream's submits
        are taken in order, so the next may be submitted before the last has resolved.

        Raises at once, before anything is written: `InvalidEvent`, `PayloadTooLarge`, `LogClosed`, and
        `LogUnwritable` when a payload above 32 KiB cannot be stored. Waits while too much is pending.
        The future raises `FencedWriter` for an `epoch` below the stream's (a higher one takes the stream over),
        `WrongExpectedVersion`, or `LogUnwritable`; nothing of the append was kept then.

        A command that stands on the stream already returns its first result, whatever `expected_version` says;
        with another type or payload it raises `IdempotencyConflict`.

        An append that begins with `session.forked`, to a stream without events and with the origin's version
        expected, makes a fork: numbers and chain go on from the parent's. `LogError` when the parent has no such
        event, itself or inherited, or one with another hash, or when the stream has events.

        Callbacks of the future run on the writer's thread: they must be short and must not append."""

    def append(
        self, stream: str, drafts: Sequence[Draft], *, expected_version: int, epoch: int
    ) -> tuple[Recorded, ...]:
        """`submit`, waited for."""

    def restore(self, events: Sequence[Recorded]) -> Future[tuple[Recorded, ...]]:
        """Appends events that were recorded before, in this log or another: successive ones of one stream and one
        epoch. They keep all but their positions, and with them their hashes; contents of blobs are stored. All or
        none are kept; a stream's restores are taken in order. What the future gives are the events at their new
        positions, or where they stood already with these hashes.

        Raises at once `InvalidEvent` for what is not such a stretch, `LogClosed`, `LogUnwritable`. The future raises
        what that of `submit` does, and `LogError` when the events do not follow on the stream's last with the hash
        that they say."""

    def head(self, stream: str) -> Head | None:
        """The stream's last committed event; None when it has none."""

    def heads(self, *, prefix: str = "", after: str = "", limit: int = 100) -> list[Head]:
        """Heads of the streams that begin with `prefix`, in order of their names' UTF-8 bytes, from the first
        after `after`. Costs a look-up a stream, however long the streams are."""

    def origin(self, stream: str) -> Origin | None:
        """Where the stream was cut from its parent; None when it begins itself or is not there."""

    def read(
        self, stream: str, *, after: int = 0, to: int | None = None, types: Collection[str] = ()
    ) -> Iterator[Recorded]:
        """Events of versions above `after` up to `to`, or up to the head as it is when reading begins; only
        those of `types` if given. Pages; holds no transaction between them. Raises `LogDamaged` when a fork's
        parent is gone, `EventsPruned` when the first of them were archived and removed."""

    def facts(self, stream: str, *, start: Anchor = ..., to: int | None = None, checked: bool = True) -> Iterator[Fact]:
        """What folding asks of the events after `start` up to version `to`, in one pass: as `read` gives them, and the
        chain checked from `start` on as they are read, unless `checked` is false.

        Raises `ChainBroken` at the first event that does not go on from the one before, or whose content is missing or
        altered: what it gave before is intact, and `verify` says what is wrong. Raises `LogDamaged` and `InvalidEvent`
        as `read` does, when a fork's parent is gone or its pointer cannot be read."""

    def read_back(self, stream: str, *, before: int | None = None, types: Collection[str] = ()) -> Iterator[Recorded]:
        """Events of versions below `before`, newest first. Pages and raises as `read` does, what is missing at its
        end."""

    def read_all(self, *, after: int = 0, to: int | None = None, types: Collection[str] = ()) -> Iterator[Recorded]:
        """Every stream's own events by position, so a shared one once: above `after` up to `to`, or up to the last
        as reading begins."""

    def position(self) -> int:
        """Position of the last committed event, 0 for an empty log."""

    def size_bytes(self) -> int:
        """What the events take on disk, with their indices and without contents."""

    def latencies(self) -> Latencies:
        """How long this process' appends took so far, those that were kept. It goes on counting."""

    def writers(self) -> list[str]:
        """Who has it open to write, machine and process, in words for people."""

    def subscribe(self, *, after: int = 0, types: Collection[str] = ()) -> Subscription:
        """Everything above `after`, with no gap between what is on disk and what is committed later."""

    def removed(self, stream: str) -> Removed | None:
        """Up to where the stream's own events were archived and removed; None when nothing is missing."""

    def prune(self, stream: str, *, to: int, hash_: str, archive: str, digest: str) -> Recorded:
        """Removes the stream's own events up to version `to`, whose hash is `hash_`, and returns the fact that says so.
        What is left, and what may still be appended, goes on from there. The caller has verified the archive of that
        name and SHA-256, which holds them. Reading from before there raises `EventsPruned`.

        Raises `LogError`, with nothing removed, when the event is another or when forks point to the stream."""

    def put_back(self, events: Sequence[Recorded], *, hash_: bytes, epoch: int, archive: str) -> Recorded:
        """Puts events that were removed back at their positions, and returns the fact that says so: successive ones up
        to the last that is missing. `hash_` and `epoch` are those of the event before the first of them.

        Raises `LogError`, with nothing changed, when they are not those, or when their positions are taken."""

    def disclose(self, events: Sequence[Recorded]) -> int:
        """Puts the payloads of events where they belong that stand without theirs, and returns how many did. The
        events are those that stand, by hash; of others, and of those that have their payload, nothing is changed.
        Raises `InvalidEvent` for a payload that is not of its event's digest."""

    def put_blob(self, content: bytes) -> str:
        """Stores `content` durably beside the log and returns its SHA-256 in hexadecimal. May be repeated."""

    def get_blob(self, digest: str) -> bytes:
        """The content with that digest. Raises `LogDamaged` when it is missing or was altered."""

    def put_snapshot(self, stream: str, version: int, content: bytes) -> None:
        """Keeps `content` beside the log as what stood at that version of the stream, in place of what was kept for
        it. A cache: it may be lost at any time, and whoever reads it must be able to tell whether it is whole. Raises
        `LogUnwritable` when there is no room."""

    def snapshots(self, stream: str, *, to: int) -> Iterator[tuple[int, bytes]]:
        """Version and content of what is kept for the stream up to version `to`, newest first, read as it is asked
        for."""

    def drop_snapshots(self, stream: str | None = None) -> None:
        """Removes what is kept for the stream, or for all streams."""

    def verify(
        self, *, seal: Seal | None = None, streams: Collection[str] | None = None, each: Each | None = None
    ) -> VerifyReport:
        """Checks every event (or those of `streams`, with what they share with their ancestors) and says what is
        wrong and what is intact; raises for neither. `each` is handed every event up to the first altered one of its
        stream: in position order, or stream by stream, ancestors first. With `seal`, also that each stream still
        ends, as of the sealed position, where it was sealed; raises `InvalidSeal` when the seal contradicts itself."""

    def seal(self) -> Seal:
        """The heads of all streams as of now, under one Merkle root. To be kept outside the log."""

    def close(self) -> None:
        """Commits what was submitted, then lets go of the log. May be called twice."""
