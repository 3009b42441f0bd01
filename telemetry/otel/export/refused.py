"""What a collector will not take, by name, kept in a file beside the cursor.

Invariant: what is named here was refused alone, or among nothing but such, and the log holds it still."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

import orjson

from telemetry.errors import LogUnwritable


class Named(NamedTuple):
    """One item that was set aside, and why."""

    signal: str
    item: str
    trace_id: str
    span_id: str
    why: str


class RefusedFile:
    """One JSON document a line; made with the first of them. A repeat after a kill is a line again."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def keep(self, named: Sequence[Named], *, position: int) -> None:
        """Returns when they are on disk. `position` is the one that the cursor moves past them to.

        Raises `LogUnwritable`."""
        lines = b"".join(orjson.dumps({**one._asdict(), "before": position}) + b"\n" for one in named)
        try:
            with self.path.open("a+b") as file:
                file.write(_cut_off(file) + lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise LogUnwritable(
                f"{self.path}, which names what a collector refused, cannot be written: {error.strerror}. "
                "The log is intact and the cursor stays before these events; make room"
            ) from error

    def count(self) -> int:
        """Lines that are there."""
        try:
            with self.path.open("rb") as file:
                return sum(1 for _ in file)
        except FileNotFoundError:
            return 0


def _cut_off(file: IO[bytes]) -> bytes:
    """What ends a line that a kill or a full disk cut off: it was not acknowledged, and comes again."""
    if not file.seek(0, os.SEEK_END):
        return b""
    file.seek(-1, os.SEEK_END)
    return b"" if file.read() == b"\n" else b"\n"
