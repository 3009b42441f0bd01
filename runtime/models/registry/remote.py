"""A place of models that fsspec reaches by a URL: `URL/NAME/DIGEST/`, and beside the digests the pointers.

Knows objects, which an object store puts whole or not at all; nothing else is asked of it. Invariant: a model is there
once its last object is, and no word that leaves here holds a secret of the URL."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Final, Literal, Protocol, TypeVar

from fsspec.core import url_to_fs
from fsspec.registry import known_implementations

from runtime.errors import RuntimeFailure, Unavailable, UsageError
from runtime.explain import nearest
from runtime.models.registry.place import DIGEST, NAME
from runtime.models.registry.urls import hide, shown
from telemetry.files import write_file

T = TypeVar("T")

MARK: Final = "config.json"
"""A model's last object; without it a model cannot be read, and is not listed."""
ANSWER_S: Final = 30.0
"""For a question or a pointer."""
TRANSFER_S: Final = 600.0
"""For one file of a model: 30 MB at 50 kB/s."""
LEFT_S: Final = 86_400.0
"""Far longer than a model takes to be sent, and than clocks differ by."""
USUAL: Final = ("abfs", "file", "ftp", "gs", "hdfs", "memory", "s3", "sftp", "smb")
"""Schemes that a misspelt one may have meant."""
CAME: Final = ("mtime", "LastModified", "last_modified", "updated", "created")
"""What drivers call the time of an object."""


class Remote:
    def __init__(self, url: str) -> None:
        """Raises `UsageError` for a URL that no driver answers to, `Unavailable` where the driver is not installed."""
        self._url = url
        self._fs, self._root = self._reached(lambda: _opened(url), within_s=ANSWER_S)

    @property
    def shown(self) -> str:
        return shown(self._url)

    def models(self, name: str | None = None) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = {}
        for path, came in self._listed(name):
            match path.split("/"):
                case [each, digest, file] if file == MARK and NAME.fullmatch(each) and DIGEST.fullmatch(digest):
                    found.setdefault(each, {})[digest] = came
        return found

    def said(self, name: str, pointer: str) -> str | None:
        content = self._read(f"{self._root}/{name}/{pointer}", within_s=ANSWER_S)
        return None if content is None else content.decode("ascii", errors="replace")

    def say(self, name: str, pointer: str, text: str) -> None:
        self._write(f"{self._root}/{name}/{pointer}", text.encode("ascii"), within_s=ANSWER_S)

    def beside(self, name: str, digest: str, file: str) -> bytes | None:
        return self._read(f"{self._root}/{name}/{digest}/{file}", within_s=ANSWER_S)

    def put(self, source: Path, name: str, digest: str) -> None:
        if digest in self.models(name).get(name, {}):
            return
        self._sweep(name)
        files = sorted(path for path in source.iterdir() if path.is_file())
        for file in sorted(files, key=lambda path: path.name == MARK):
            self._write(f"{self._root}/{name}/{digest}/{file.name}", file.read_bytes(), within_s=TRANSFER_S)

    def get(self, name: str, digest: str, into: Path) -> None:
        names = [path.split("/")[-1] for path, _ in self._listed(f"{name}/{digest}") if path.count("/") == 2]
        if MARK not in names:
            raise FileNotFoundError(f"{name}/{digest}/{MARK}")
        into.mkdir()
        for file in names:
            content = self._read(f"{self._root}/{name}/{digest}/{file}", within_s=TRANSFER_S)
            if content is not None:
                write_file(into / file, content)

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """An object store has no locks: of two machines that point at once, the last one is heard."""
        yield

    def _sweep(self, name: str) -> None:
        """Removes what is left of models whose sender was cut off, long enough ago that none can be sending still."""
        came: dict[str, float] = {}
        for path, at in self._listed(name):
            match path.split("/"):
                case [_, digest, _] if DIGEST.fullmatch(digest):
                    came[digest] = max(at, came.get(digest, 0.0))
        for digest in came.keys() - self.models(name).get(name, {}).keys():
            if 0 < came[digest] < time.time() - LEFT_S:
                path = f"{self._root}/{name}/{digest}"
                self._reached(lambda path=path: self._fs.rm(path, recursive=True), within_s=ANSWER_S)  # type: ignore[misc]

    def _listed(self, under: str | None) -> list[tuple[str, float]]:
        """Every object under a name, by its path from the root, and when it came."""
        top = self._root if under is None else f"{self._root}/{under}"

        def look() -> Mapping[str, Mapping[str, object]]:
            self._fs.invalidate_cache()
            try:
                self._fs.ls(top, detail=False)  # `find` takes a place that does not answer for an empty one
            except FileNotFoundError:
                return {}
            return self._fs.find(top, detail=True)

        root = f"{self._root.rstrip('/')}/"
        found = self._reached(look, within_s=ANSWER_S)
        return [(path.removeprefix(root), _came(about)) for path, about in found.items()]

    def _read(self, path: str, *, within_s: float) -> bytes | None:
        def read() -> bytes | None:
            try:
                return self._fs.cat_file(path)
            except FileNotFoundError:
                return None

        return self._reached(read, within_s=within_s)

    def _write(self, path: str, content: bytes, *, within_s: float) -> None:
        def write() -> None:
            try:
                self._fs.pipe_file(path, content)
            except FileNotFoundError:  # where folders must be made; a bucket is never, as its name may be misspelt
                for folder in reversed(PurePosixPath(path.removeprefix(self._root)).parents[:-1]):
                    with suppress(FileExistsError):
                        self._fs.mkdir(f"{self._root}{folder}", create_parents=False)
                self._fs.pipe_file(path, content)

        self._reached(write, within_s=within_s)

    def _reached(self, act: Callable[[], T], *, within_s: float) -> T:
        """What `act` gives, in time. Raises `Unavailable` for whatever the driver raises."""
        done: list[T] = []
        failed: list[Exception] = []

        def run() -> None:
            try:
                done.append(act())
            except Exception as error:  # noqa: BLE001  drivers raise what they like; it is said below
                failed.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(within_s)
        if done:
            return done[0]
        cause = failed[0] if failed else TimeoutError(f"no answer within {within_s:g} s")
        if isinstance(cause, RuntimeFailure):
            raise cause
        raise Unavailable(
            f"the models at {self.shown} cannot be reached: {hide(f'{type(cause).__name__}: {cause}', self._url)}. "
            "What is there is intact, and models that were fetched before can be used. Look at the URL and at what its "
            "driver is told of credentials, then try again"
        ) from None


class _Driver(Protocol):
    """What is asked of fsspec, which is not typed."""

    def invalidate_cache(self) -> None: ...

    def ls(self, path: str, *, detail: bool) -> object: ...

    def find(self, path: str, *, detail: Literal[True]) -> Mapping[str, Mapping[str, object]]: ...

    def cat_file(self, path: str) -> bytes: ...

    def pipe_file(self, path: str, value: bytes) -> None: ...

    def mkdir(self, path: str, *, create_parents: bool) -> None: ...

    def rm(self, path: str, *, recursive: bool) -> None: ...


def _opened(url: str) -> tuple[_Driver, str]:
    scheme = url.partition("://")[0]
    try:
        driver, root = url_to_fs(url)
        return driver, str(root)
    except ImportError as error:
        driver = str(known_implementations.get(scheme, {}).get("class", "")).partition(".")[0]
        hint = f"pip install {driver}" if driver and driver != "fsspec" else hide(str(error), url)
        raise Unavailable(f"models at {scheme}:// need a driver that is not installed: {hint}") from None
    except ValueError as error:
        said = f": {hide(str(error), url)}" if scheme in known_implementations else nearest(scheme, USUAL)
        raise UsageError(f"models cannot lie at {shown(url)}{said}") from None


def _came(about: Mapping[str, object]) -> float:
    """When an object came, in seconds; 0 where the driver does not say."""
    for key in CAME:
        match about.get(key):
            case datetime() as at:
                return at.timestamp()
            case int() | float() as seconds:
                return float(seconds)
            case str() as text:
                try:
                    return datetime.fromisoformat(text).timestamp()
                except ValueError:
                    return 0.0
    return 0.0
