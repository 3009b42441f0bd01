"""What a log in tables asks of whatever keeps them.

Knows rows, blobs and snapshots by what they promise; SQLite and PostgreSQL each have a folder. Invariant: `stored`
needs nothing else of a database."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

from telemetry.log.rows import Row
from telemetry.log.seal import Seal
from telemetry.log.store import Each
from telemetry.log.subscribe import Notice
from telemetry.log.verify import VerifyReport
from telemetry.log.writer import Writer


class BlobStore(Protocol):
    """Content by its SHA-256 in hexadecimal."""

    def put(self, content: bytes) -> str:
        """Returns when `content` is durable. Raises `LogUnwritable`."""

    def get(self, digest: str) -> bytes:
        """Raises `LogDamaged` when the content is missing or altered."""

    def load(self, reference: object) -> bytes | None:
        """The content that the stored payload `reference` names; None when it is missing or altered."""


class SnapshotStore(Protocol):
    """What stood at a version of a stream; see `EventLog.put_snapshot`."""

    def put(self, stream: str, version: int, content: bytes) -> None:
        """Raises `LogUnwritable`."""

    def newest(self, stream: str, *, to: int) -> Iterator[tuple[int, bytes]]: ...

    def drop(self, stream: str | None) -> None:
        """Raises `LogUnwritable`."""


class Database(Protocol):
    """What keeps the tables of one open log."""

    id: str
    url: str
    name: str
    notice: Notice
    writer: Writer | None
    """None where the log was opened for reading."""

    @property
    def blobs(self) -> BlobStore: ...

    @property
    def snapshots(self) -> SnapshotStore: ...

    def rows(self, query: str, values: Sequence[str | int]) -> list[Row]:
        """All rows of a short read of its own; `?` stands for a value. Raises `LogClosed`."""

    def heads(self, bound: str, *, beyond: bool, until: str, limit: int) -> list[Row]:
        """The columns of `Head` of the streams from `bound` on, or only beyond it, and before `until`, by name."""

    def size_bytes(self) -> int: ...

    def writers(self) -> list[str]: ...

    def followed(self) -> float:
        """Somebody begins to wait for news. How long they may trust silence before they look, in seconds."""

    def verify(self, seal: Seal | None, streams: Collection[str] | None, each: Each | None) -> VerifyReport: ...

    def close(self) -> None:
        """Commits what was submitted and lets go. May be called twice."""
