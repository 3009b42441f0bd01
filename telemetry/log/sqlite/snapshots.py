"""Snapshots beside a SQLite log: `<log>.snapshots/<stream's digest>/<version>`.

Knows files; what stands in them, and whether it is to be trusted, their readers know. They are a cache: nothing is
fsynced, as a file that a crash has torn is passed over like any other that does not hold, and the folder may be removed
at any time. Invariant: a file under its final name was written whole."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from telemetry.errors import LogUnwritable


class SnapshotFiles:
    def __init__(self, log: Path) -> None:
        self._root = log.with_name(log.name + ".snapshots")

    def put(self, stream: str, version: int, content: bytes) -> None:
        folder = self._folder(stream)
        aside = folder / f".{version}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            aside.write_bytes(content)
            aside.replace(folder / str(version))
        except OSError as error:
            raise LogUnwritable(
                f"a snapshot of {stream} of {len(content):,} bytes could not be stored: {error.strerror} ({folder}). "
                "The log has all it needs without it."
            ) from error

    def newest(self, stream: str, *, to: int) -> Iterator[tuple[int, bytes]]:
        folder = self._folder(stream)
        try:
            versions = [int(file.name) for file in folder.iterdir() if file.name.isdecimal()]
        except OSError:  # none was taken, or the folder was removed
            return
        for version in sorted((version for version in versions if version <= to), reverse=True):
            try:
                content = (folder / str(version)).read_bytes()
            except OSError:
                continue
            yield version, content

    def drop(self, stream: str | None) -> None:
        folder = self._root if stream is None else self._folder(stream)
        try:
            if folder.exists():
                shutil.rmtree(folder)
        except OSError as error:
            raise LogUnwritable(f"{folder} cannot be removed: {error.strerror}. Remove it by hand.") from error

    def _folder(self, stream: str) -> Path:
        """A stream's name may be no file's name, so its digest is."""
        return self._root / hashlib.sha256(stream.encode()).hexdigest()[:32]
