"""Where a training keeps what it needs to go on after it was cut off: `HOME/training/NAME-KEY/`, until it has ended.

Knows folders; what states are in there, `loops.training` knows. Invariant: of equal orders over equal rows one is under
way at a time on a machine, and a later one goes on where it was cut off, under the same name."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from runtime.errors import Unavailable
from runtime.settings import Settings
from telemetry.files import replace_file
from telemetry.locks import hold, holder

RUN, LOCK = "run", "lock"


@dataclass(frozen=True, slots=True)
class Storage:
    """`folder` is on this machine. With workers on several, the states themselves lie at `url`, which all reach."""

    folder: Path
    url: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, settings: Settings) -> Storage:
        where = settings.training
        folder = settings.home.expanduser() / "training"
        if where is None or "://" in where:
            return cls(folder, where)
        return cls(Path(where).expanduser())

    def states_of(self, folder: Path) -> Path | str:
        return folder.absolute() if self.url is None else f"{self.url.rstrip('/')}/{folder.name}"


@dataclass(slots=True)
class Unfinished:
    folder: Path
    run: str
    """The training's own name: its key, and what tells it from an equal one that ended before."""
    ended: bool = False
    """Whether it needs nothing of this any more."""


@contextmanager
def unfinished(home: Path, name: str, key: str) -> Iterator[Unfinished]:
    """The training `name` over what `key` is a digest of. Its folder goes when it has ended, or left nothing in it.

    Raises `Unavailable` where another process is at the same, or nothing can be written."""
    folder = home / f"{name}-{key}"
    try:
        lock = _held(folder)
    except OSError as error:
        raise Unavailable(
            f"a training keeps its states in {folder}, which cannot be written: {error.strerror or error}. Nothing was "
            "learnt. Make room, or name another home with AETHER_HOME"
        ) from error
    if lock is None:
        raise Unavailable(
            f"the same training of {name} is under way in {holder(folder / LOCK)}. Let it end, or train with another "
            "seed or name"
        )
    with lock:
        under_way = Unfinished(folder, _run(folder, key))
        try:
            yield under_way
        finally:
            if under_way.ended or {path.name for path in folder.iterdir()} <= {RUN, LOCK}:
                _remove(folder)


def _held(folder: Path) -> IO[str] | None:
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # who held it has ended, and removed the folder at this moment
            return hold(folder / LOCK)


def _remove(folder: Path) -> None:
    """At once, for whoever comes to it; what a kill leaves aside goes with the next of that name."""
    aside = folder.with_name(f".{folder.name}.ended")
    shutil.rmtree(aside, ignore_errors=True)
    with suppress(OSError):
        folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def _run(folder: Path, key: str) -> str:
    try:
        return (folder / RUN).read_text(encoding="ascii")
    except FileNotFoundError:
        run = f"{key}.{secrets.token_hex(3)}"
        replace_file(folder / RUN, run.encode())
        return run
