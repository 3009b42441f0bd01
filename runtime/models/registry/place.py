"""The places that models are kept in: a folder here, or what fsspec reaches by a URL, in `registry.remote`.

Knows names of folders and files; what is in a model, `world_model.checkpoint` knows. Invariant: a model is at its place
whole or not at all, and so is what a pointer says."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol

import portalocker

from runtime.errors import Unavailable
from telemetry.files import replace_file, sync, write_file

NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]*")
DIGEST: Final = re.compile(r"[0-9a-f]{12}")
ASIDE: Final = ".new-"
WAIT_S: Final = 120.0
"""How long one who writes a name's models waits for another who does. Writing takes seconds, unless it is sent far."""


class Place(Protocol):
    @property
    def shown(self) -> str:
        """It, as people may see it."""
        ...

    def models(self, name: str | None = None) -> dict[str, dict[str, float]]:
        """The whole models by name, or those of one name, and by digest, with when each came, in seconds."""
        ...

    def said(self, name: str, pointer: str) -> str | None:
        """What a pointer of `name` says; None where there is none."""
        ...

    def say(self, name: str, pointer: str, text: str) -> None:
        """Returns when the pointer says so for good; before, it says what it said."""
        ...

    def beside(self, name: str, digest: str, file: str) -> bytes | None:
        """A small file of a model; None where there is none."""
        ...

    def put(self, source: Path, name: str, digest: str) -> None:
        """Copies a whole model there. Whoever looks meanwhile sees none. One caller at a time, who has `locked` it."""
        ...

    def get(self, name: str, digest: str, into: Path) -> None:
        """Copies a model's files, as they are there, into a new folder. Raises FileNotFoundError."""
        ...

    def locked(self, name: str) -> AbstractContextManager[None]:
        """One writer of a name's models and pointers at a time, as far as the place can tell them apart. Raises
        `Unavailable` when the other takes too long."""
        ...


class Folder:
    """`ROOT/NAME/DIGEST/`, and beside the digests the pointers."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def shown(self) -> str:
        return str(self.root)

    def models(self, name: str | None = None) -> dict[str, dict[str, float]]:
        try:
            names = sorted(path.name for path in self.root.iterdir()) if self.root.is_dir() else ()
            found = {each: self._whole(each) for each in names if NAME.fullmatch(each) and name in (None, each)}
        except OSError as error:
            raise Unavailable(f"the models in {self.root} cannot be read: {error.strerror or error}") from error
        return {name: digests for name, digests in found.items() if digests}

    def _whole(self, name: str) -> dict[str, float]:
        found = {}
        for path in (self.root / name).iterdir() if (self.root / name).is_dir() else ():
            if DIGEST.fullmatch(path.name):
                with suppress(FileNotFoundError):  # removed at this moment
                    found[path.name] = path.stat().st_mtime
        return found

    def said(self, name: str, pointer: str) -> str | None:
        try:
            return (self.root / name / pointer).read_text(encoding="ascii", errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Unavailable(f"{self.root / name / pointer} cannot be read: {error.strerror or error}") from error

    def say(self, name: str, pointer: str, text: str) -> None:
        (self.root / name).mkdir(parents=True, exist_ok=True)
        replace_file(self.root / name / pointer, text.encode("ascii"))

    def beside(self, name: str, digest: str, file: str) -> bytes | None:
        try:
            return (self.root / name / digest / file).read_bytes()
        except FileNotFoundError:
            return None

    def put(self, source: Path, name: str, digest: str) -> None:
        if (self.root / name / digest).is_dir():
            return
        with self.aside(name) as written:
            _copy(source, written)
            self.take(written, name, digest)

    def get(self, name: str, digest: str, into: Path) -> None:
        _copy(self.root / name / digest, into)

    def take(self, written: Path, name: str, digest: str) -> None:
        """Gives what was written `aside` its place. One that is there already stays as it is."""
        folder = self.root / name / digest
        sync(written)
        if not folder.is_dir():
            written.rename(folder)
            sync(folder.parent)

    @contextmanager
    def aside(self, name: str) -> Iterator[Path]:
        """A path for a model that is being written, gone at the end whatever becomes of it."""
        place = self.root / name
        place.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=ASIDE, dir=place))
        try:
            yield aside / name
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """As `Place.locked`. What writers left aside that are no more goes first."""
        self.root.mkdir(parents=True, exist_ok=True)
        lock = portalocker.Lock(self.root / f".{name}.lock", timeout=WAIT_S)
        try:
            lock.acquire()
        except portalocker.LockException as error:
            raise Unavailable(
                f"another process has been writing the models {name!r} in {self.root} for {WAIT_S:g} s. Nothing was "
                "written here, and what was there is intact. Try again when it is done"
            ) from error
        try:
            for left in (self.root / name).glob(f"{ASIDE}*"):
                shutil.rmtree(left, ignore_errors=True)
            yield
        finally:
            lock.release()


def _copy(source: Path, into: Path) -> None:
    """Each file is on disk when it returns. Raises FileNotFoundError."""
    files = sorted(path for path in source.iterdir() if path.is_file())
    into.mkdir()
    for file in files:
        write_file(into / file.name, file.read_bytes())
