"""Trained models on disk: `HOME/models/NAME/DIGEST/`, and beside the digests one file that says which is the latest.

Knows folders; what is in one, `world_model.checkpoint` knows. Invariant: a digest's folder is never changed, and comes
to be whole or not at all, as does the word on which is the latest."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from runtime.errors import NotFound, Unavailable, UsageError
from runtime.explain import nearest
from runtime.settings import Settings
from telemetry.events.values import ModelId
from telemetry.files import replace_file, sync_folder

MODELS = "models"
"""The folder of a home that they lie in."""

LATEST = "latest"
ASIDE = ".new-"
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
DIGEST = re.compile(r"[0-9a-f]{12}")


class Kept(NamedTuple):
    """A model that is there. `latest`: what its name alone means."""

    name: str
    digest: str
    folder: Path
    latest: bool

    @property
    def model(self) -> ModelId:
        return f"{self.name}@{self.digest}"


def models_home(settings: Settings) -> Path:
    return settings.home.expanduser() / MODELS


def check_name(name: str) -> None:
    """Raises `UsageError` for what cannot be a model's name."""
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name of a model: it takes lower-case letters, digits, - and _, such as maze. "
            "Nothing was written"
        )


def kept(home: Path, name: str | None = None) -> list[Kept]:
    """Every model, or those of one name: by name, the latest of each first, then by age, newest first."""
    found: list[Kept] = []
    for folder in sorted(home.iterdir()) if home.is_dir() else ():
        if folder.is_dir() and NAME.fullmatch(folder.name) and name in (None, folder.name):
            latest = _latest(folder)
            inner = [path for path in folder.iterdir() if path.is_dir() and DIGEST.fullmatch(path.name)]
            inner.sort(key=lambda path: (path.name != latest, -path.stat().st_mtime_ns, path.name))
            found += (Kept(folder.name, path.name, path, path.name == latest) for path in inner)
    return found


def folder_at(which: str, *, base: str | None = None) -> Path:
    """The folder that a path names, relative to `base` or to the current one. Raises `NotFound`."""
    folder = Path(base or Path.cwd()) / Path(which).expanduser()
    if not folder.is_dir():
        raise NotFound(f"there is no model's folder at {folder}")
    return folder


def find(home: Path, which: str) -> Kept:
    """The model `NAME`, `NAME@DIGEST`, with the digest's first digits at least, or in the folder `PATH`, which has a
    slash in it. Raises `NotFound` with the nearest."""
    if "/" in which:
        folder = folder_at(which).resolve()
        return Kept(folder.parent.name, folder.name, folder, _latest(folder.parent) == folder.name)
    name, at, digest = which.partition("@")
    there = kept(home, name)
    if not there:
        known = sorted({one.name for one in kept(home)})
        hint = nearest(name, known) if known else f"; there is none yet. Try: aether train world-model {name}"
        raise NotFound(f"there is no model {name!r} in {home}{hint}")
    if not at:
        if there[0].latest:
            return there[0]
        ids = ", ".join(one.model for one in there)
        raise NotFound(f"which {name} is the latest is not said in {home / name / LATEST}; name one of: {ids}")
    matching = [one for one in there if digest and one.digest.startswith(digest)]
    if len(matching) != 1:
        hint = nearest(which, [one.model for one in matching or there])
        raise NotFound(f"there {'are several' if matching else 'is no'} {which!r} in {home}{hint}")
    return matching[0]


@contextmanager
def laying_down(home: Path, name: str) -> Iterator[Path]:
    """A path aside that a model can be written to, gone at the end whatever becomes of it. Raises `Unavailable` where
    there is no room or no leave to write."""
    aside = home / name / f"{ASIDE}{os.getpid()}"
    try:
        aside.mkdir(parents=True, exist_ok=True)
        yield aside / name
    except OSError as error:
        raise Unavailable(
            f"the model cannot be kept in {home / name}: {error.strerror or error}. Models that were there are intact. "
            "Make room, or name another home with AETHER_HOME"
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def lay_down(written: Path, digest: str, *, latest: bool = True) -> Kept:
    """Gives what `laying_down` let be written, each file of it on disk already, its place, and makes it the latest of
    its name unless `latest` is false. The same digest again is left as it stands."""
    name = written.name
    place = written.parent.parent
    folder = place / digest
    sync_folder(written)
    if not folder.is_dir():
        written.rename(folder)
        sync_folder(place)
    if latest:
        replace_file(place / LATEST, f"{digest}\n".encode())
    return Kept(name, digest, folder, _latest(place) == digest)


def _latest(folder: Path) -> str | None:
    try:
        return (folder / LATEST).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
