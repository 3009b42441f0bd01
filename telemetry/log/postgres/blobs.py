"""The content store of a PostgreSQL log: a table in the same database, by SHA-256.

Invariant: what `put` returned is committed, before the event that names it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import psycopg

from telemetry.errors import InvalidEvent, LogDamaged, LogUnwritable
from telemetry.log.postgres.connect import Server
from telemetry.log.rows import Row, blob_digest

PUT = "INSERT INTO blobs (digest, content) VALUES (%s, %s) ON CONFLICT (digest) DO NOTHING"
GET = "SELECT content FROM blobs WHERE digest = %s"
DIGEST = "SELECT sha256(content) FROM blobs WHERE digest = %s"

Statement = Callable[[str, Sequence[str | int | bytes]], list[Row]]


class PostgresBlobs:
    """`BlobStore` over statements that wait for a server that restarts."""

    def __init__(self, server: Server, statement: Statement) -> None:
        self._server = server
        self._statement = statement

    def put(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        try:
            self._statement(PUT, (digest, content))
        except psycopg.Error as error:
            raise LogUnwritable(
                f"content of {len(content):,} bytes could not be stored: {self._server.words(error)} "
                f"({self._server.name}). Nothing of the append was kept; make room and append again."
            ) from None
        return digest

    def get(self, digest: str) -> bytes:
        content = self._content(digest)
        found = None if content is None else hashlib.sha256(content).hexdigest()
        if content is None or found != digest:
            raise LogDamaged(
                f"content {digest[:12]}… {_wrong(found)} ({self._server.name}). The events that name it are intact."
            )
        return content

    def load(self, reference: object) -> bytes | None:
        try:
            return self.get(blob_digest(reference))
        except (InvalidEvent, LogDamaged):
            return None

    def fault(self, digest: str) -> str | None:
        """What is wrong with the content of that digest; None when nothing is."""
        try:
            rows = self._statement(DIGEST, (digest,))
        except psycopg.Error as error:
            return f"cannot be read: {self._server.words(error)}"
        found = rows[0][0].hex() if rows and isinstance(rows[0][0], bytes) else None
        return None if found == digest else _wrong(found)

    def _content(self, digest: str) -> bytes | None:
        try:
            rows = self._statement(GET, (digest,))
        except psycopg.DataError:  # a NUL, which no digest has
            return None
        return rows[0][0] if rows and isinstance(rows[0][0], bytes) else None


def _wrong(found: str | None) -> str:
    return "is missing" if found is None else f"was altered: its SHA-256 is {found[:12]}…"
