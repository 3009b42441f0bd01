"""The content store beside a log: `<log>.blobs/ab/abcdef…`, named by SHA-256.

Invariant: a file under its final name is whole and on disk."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path

from telemetry.errors import InvalidEvent, LogDamaged, LogUnwritable
from telemetry.files import sync
from telemetry.log.rows import blob_digest

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Blobs:
    def __init__(self, log: Path) -> None:
        self._root = log.with_name(log.name + ".blobs")

    def put(self, content: bytes) -> str:
        """Returns when `content` and its name are on disk. Raises `LogUnwritable`."""
        digest = hashlib.sha256(content).hexdigest()
        path = self._path(digest)
        try:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                _write_aside(path, content)
            for folder in (path.parent, self._root, self._root.parent):
                sync(folder)
        except OSError as error:
            raise LogUnwritable(
                f"content of {len(content):,} bytes could not be stored: {error.strerror} ({path}). "
                "Nothing of the append was kept; make room and append again."
            ) from error
        return digest

    def get(self, digest: str) -> bytes:
        """Raises `LogDamaged` when the content is missing or altered."""
        wrong = self.fault(digest)
        if wrong is not None:
            raise LogDamaged(f"content {digest[:12]}… {wrong} ({self._root}). The events that name it are intact.")
        return self._path(digest).read_bytes()

    def load(self, reference: object) -> bytes | None:
        """The content that the stored payload `reference` names; None when it is missing or altered, which the
        event says when it is decoded and `verify` when it is asked."""
        try:
            return self.get(blob_digest(reference))
        except (InvalidEvent, LogDamaged):
            return None

    def fault(self, digest: str) -> str | None:
        """What is wrong with the content of that digest; None when nothing is."""
        if not _DIGEST.fullmatch(digest):
            return f"has no valid name: {digest[:80]!r}"
        try:
            with self._path(digest).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        return None if found == digest else f"was altered: its SHA-256 is {found[:12]}…"

    def _path(self, digest: str) -> Path:
        return self._root / digest[:2] / digest


def _write_aside(path: Path, content: bytes) -> None:
    descriptor, aside = tempfile.mkstemp(dir=path.parent, prefix=".aside-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(aside).replace(path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
