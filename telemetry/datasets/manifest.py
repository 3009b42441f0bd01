"""What a dataset's folder says of itself, for programs: `manifest.json`.

Knows its shape; knows no rows. Invariant: nothing in it differs between two builds from the same pin, so the folders
are equal byte for byte; nothing in it names a machine."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import orjson
from pydantic import Field, ValidationError

from telemetry.datasets.counting import SplitCounts
from telemetry.datasets.recipe import Format, Recipe
from telemetry.errors import DatasetDamaged, DatasetNotFound
from telemetry.events.values import Digest, Value

NAME = "manifest.json"


class FieldFound(Value):
    """A field of the rows."""

    name: str
    type: str
    meaning: str = ""


class FileWritten(Value):
    """A file, by its path in the folder."""

    path: str
    split: str
    bytes: int = Field(ge=0)
    sha256: Digest


class LeftOut(Value):
    """Rows of the query that are not in the dataset."""

    rows: int = Field(default=0, ge=0)
    sessions: int = Field(default=0, ge=0)


class Filtered(Value):
    """What stood between the query and the files, and how many rows it took away."""

    name: str
    rows: int = Field(default=0, ge=0)


class Manifest(Value):
    version: Literal["aetherloop-dataset/1"] = "aetherloop-dataset/1"
    """Of this file's own shape."""
    name: str
    recipe: Recipe
    """With its parameters as they were set."""
    recipe_digest: Digest
    log: str
    """Id of the log."""
    pinned_position: int = Field(ge=0)
    rows: int = Field(ge=0)
    digest: Digest
    digest_of: str
    """The form of the rows that the digest is over; see `telemetry.datasets.canonical`."""
    format: Format
    splits: dict[str, SplitCounts]
    fields: tuple[FieldFound, ...]
    files: tuple[FileWritten, ...]
    evaluations: LeftOut
    filter: Filtered
    versions: dict[str, str]
    """Of what can change how a value is written."""

    def json_bytes(self) -> bytes:
        return orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_INDENT_2) + b"\n"


def read_manifest(folder: Path) -> Manifest:
    """Raises `DatasetNotFound` where there is none, `DatasetDamaged` for what is none."""
    path = folder / NAME
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise DatasetNotFound(
            f"there is no dataset in {folder}: it has no {NAME}. Build one: aether dataset build"
        ) from None
    except ValidationError as error:
        raise DatasetDamaged(f"{path} is no manifest of this version: {error}. Build the dataset anew") from error


def altered(folder: Path, manifest: Manifest) -> list[str]:
    """The files that are not what was written, or are gone."""
    return [one.path for one in manifest.files if not _is_whole(folder / one.path, one)]


def written(folder: Path, path: Path, *, split: str) -> FileWritten:
    return FileWritten(
        path=path.relative_to(folder).as_posix(), split=split, bytes=path.stat().st_size, sha256=_sha256(path)
    )


def _is_whole(path: Path, said: FileWritten) -> bool:
    return path.is_file() and path.stat().st_size == said.bytes and _sha256(path) == said.sha256


def _sha256(path: Path) -> Digest:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
