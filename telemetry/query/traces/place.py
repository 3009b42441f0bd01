"""Where traces lie: a folder of this machine, or whatever fsspec reaches.

Knows files by their paths in it; knows no rows. Invariant: what `write` and `create` returned from is there after a
power cut as far as the place promises that: a folder's files are fsynced, an object store keeps what it took."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any, Final, Protocol, TypeAlias

from telemetry.errors import TracesHeld, TracesUnwritable
from telemetry.files import replace_file, sync, write_file
from telemetry.locks import hold, holder

Filesystem: TypeAlias = Any
"""An `fsspec.AbstractFileSystem`; fsspec ships no types."""

LOCK: Final = ".lock"

_USER: Final = re.compile(r"//([^/@]*)@")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(::[A-Za-z][A-Za-z0-9+.-]*)*://")


class Taken(Exception):
    """That name is there already: somebody else was faster."""


class Place(Protocol):
    name: str
    """What people may see of it: without what stands for a user's name or password."""

    def full(self, path: str) -> str:
        """The path or URL by which others open it."""

    def read(self, path: str) -> bytes:
        """Raises `FileNotFoundError`, `TracesUnwritable`."""

    def names(self, folder: str) -> list[str]:
        """Of the files in it, sorted; none where it is not there."""

    def everything(self) -> Iterator[str]:
        """Paths of all files."""

    def write(self, files: Iterable[tuple[str, bytes]]) -> None:
        """Returns when they are there for good. Raises `TracesUnwritable`."""

    def create(self, path: str, content: bytes) -> None:
        """All of it or nothing, and only where nothing is. Raises `Taken`, `TracesUnwritable`."""

    def remove(self, paths: Iterable[str]) -> None:
        """Those that are there. What cannot be removed stays."""

    def held(self) -> AbstractContextManager[object]:
        """Keeps other processes of this machine from writing there. Raises `TracesHeld`, `TracesUnwritable`."""


def place_of(url: str | Path) -> Place:
    """A bare path and `file://` are folders; any other scheme is fsspec's. Raises `TracesUnwritable` for one that no
    installed package answers to."""
    text = str(url)
    if text.startswith("file://"):
        return Folder(Path(text.removeprefix("file://")))
    return Elsewhere(text) if _SCHEME.match(text) else Folder(Path(text))


class Folder:
    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()
        self.name = str(self.root)

    def full(self, path: str) -> str:
        return str(self.root / path)

    def read(self, path: str) -> bytes:
        with _reaching(self.name, reading=True):
            return self.root.joinpath(path).read_bytes()

    def names(self, folder: str) -> list[str]:
        with suppress(FileNotFoundError), _reaching(self.name, reading=True):
            return sorted(file.name for file in self.root.joinpath(folder).iterdir() if not file.name.endswith(".new"))
        return []

    def everything(self) -> Iterator[str]:
        return (str(file.relative_to(self.root)) for file in self.root.rglob("*") if file.is_file())

    def write(self, files: Iterable[tuple[str, bytes]]) -> None:
        touched: set[Path] = set()
        with _reaching(self.name):
            for path, content in files:
                file = self.root / path
                touched |= self._make(file.parent)
                write_file(file, content)
            for folder in touched:
                sync(folder)

    def create(self, path: str, content: bytes) -> None:
        file = self.root / path
        if file.exists():
            raise Taken(path)
        with _reaching(self.name):
            for folder in self._make(file.parent):
                sync(folder)
            replace_file(file, content)

    def remove(self, paths: Iterable[str]) -> None:
        for path in paths:
            file = self.root / path
            with suppress(OSError):
                file.unlink(missing_ok=True)
            with suppress(OSError):  # a folder with something in it stays
                file.parent.rmdir()

    def held(self) -> AbstractContextManager[object]:
        with _reaching(self.name):
            self.root.mkdir(parents=True, exist_ok=True)
            file: IO[str] | None = hold(self.root / LOCK)
        if file is None:
            raise TracesHeld(
                f"{holder(self.root / LOCK)} writes the traces in {self.name}. They can be read; end that process "
                "first, or name another folder"
            )
        return file

    def _make(self, folder: Path) -> set[Path]:
        """Makes the folder. Those whose names are to be put on disk: it, and what it made on the way."""
        made = {folder}
        while not folder.exists() and folder != self.root:
            folder = folder.parent
            made.add(folder)
        for each in sorted(made):
            each.mkdir(exist_ok=True)
        return made


class Elsewhere:
    """`create` is atomic where the store is: object stores take a name only once when asked to. One writer at a time is
    then what its commits show, not a lock."""

    def __init__(self, url: str) -> None:
        import fsspec

        self.name = _USER.sub("//", url.partition("?")[0])
        self._secrets = tuple(secret for secret in (*_USER.findall(url), url.partition("?")[2]) if secret)
        try:
            self.filesystem: Filesystem
            self.filesystem, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise TracesUnwritable(f"nothing here reaches {self.name}: {error}. Nothing was written") from error
        self._root = self._root.rstrip("/")

    def full(self, path: str) -> str:
        return str(self.filesystem.unstrip_protocol(f"{self._root}/{path}"))

    def read(self, path: str) -> bytes:
        with self._reaching(reading=True):
            return bytes(self.filesystem.cat_file(f"{self._root}/{path}"))

    def names(self, folder: str) -> list[str]:
        self.filesystem.invalidate_cache()
        with suppress(FileNotFoundError), self._reaching(reading=True):
            found = self.filesystem.ls(f"{self._root}/{folder}", detail=False)
            return sorted(str(path).rpartition("/")[2] for path in found)
        return []

    def everything(self) -> Iterator[str]:
        self.filesystem.invalidate_cache()
        begin = len(self._root) + 1
        with self._reaching():
            return iter([str(path)[begin:] for path in self.filesystem.find(self._root)])

    def write(self, files: Iterable[tuple[str, bytes]]) -> None:
        with self._reaching():
            for path, content in files:
                self.filesystem.pipe_file(f"{self._root}/{path}", content)

    def create(self, path: str, content: bytes) -> None:
        with self._reaching():
            try:
                self.filesystem.pipe_file(f"{self._root}/{path}", content, mode="create")
            except FileExistsError as error:
                raise Taken(path) from error

    def remove(self, paths: Iterable[str]) -> None:
        for path in paths:
            with suppress(OSError):
                self.filesystem.rm_file(f"{self._root}/{path}")

    def held(self) -> AbstractContextManager[object]:
        return nullcontext()

    def _reaching(self, *, reading: bool = False) -> AbstractContextManager[None]:
        return _reaching(self.name, reading=reading, hiding=self._secrets)


@contextmanager
def _reaching(name: str, *, reading: bool = False, hiding: Sequence[str] = ()) -> Iterator[None]:
    """What the system says of a place, for people and without what a URL holds of secrets; to who reads, that a file is
    not there is an answer."""
    try:
        yield
    except OSError as error:
        if reading and isinstance(error, FileNotFoundError):
            raise
        why = error.strerror or str(error)
        for secret in hiding:
            why = why.replace(secret, "***")
        raise TracesUnwritable(
            f"the traces in {name} cannot be reached or written: {why}. The log is intact, and so are the rows that "
            "stand there. Make room, or name another folder"
        ) from (None if hiding else error)
