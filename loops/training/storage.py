"""Where the states of a course lie: a folder, or a URL that all nodes of workers reach.

Knows what Ray Train writes there; reads no state. Invariant: a folder that is there can be gone on from, or is begun
anew."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Final

import pyarrow.fs

LISTED: Final = "checkpoint_manager_snapshot.json"
"""Where Ray Train says which states were kept."""


def mend(storage: Path | str, key: str) -> None:
    """Removes what a machine that lost its power left of a course where it no longer says what was kept: Ray Train
    would neither go on from there nor begin anew."""
    files, folder = _folder(storage, key)
    listed = f"{folder}/{LISTED}"
    if files.get_file_info(listed).type == pyarrow.fs.FileType.NotFound:
        return
    with files.open_input_stream(listed) as stream:
        try:
            json.loads(stream.read())
        except ValueError:
            files.delete_dir(folder)


def remove(storage: Path | str, key: str) -> None:
    """Removes all states of a course. One that is cut off here says no more what was kept, so it is begun anew."""
    files, folder = _folder(storage, key)
    with suppress(FileNotFoundError):
        files.delete_file(f"{folder}/{LISTED}")
    files.delete_dir(folder)


def _folder(storage: Path | str, key: str) -> tuple[pyarrow.fs.FileSystem, str]:
    files, folder = pyarrow.fs.FileSystem.from_uri(str(storage) if "://" in str(storage) else Path(storage).as_uri())
    return files, f"{folder.rstrip('/')}/{key}"
