"""A folder that appears whole or not at all.

Knows folders and names; knows nothing of what is in them. Invariant: under a dataset's name stands either nothing, or
all of it, on disk; what a kill leaves lies under a name that begins with a dot, and is removed by the next build beside
it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from telemetry.errors import DatasetExists, DatasetUnwritable
from telemetry.files import sync
from telemetry.locks import hold

UNFINISHED = ".building-"
LOCK = "lock"


@contextmanager
def aside(target: Path) -> Iterator[Path]:
    """An empty folder beside `target`, to be filled and handed to `put`; gone at the end unless it was. Raises
    `DatasetUnwritable`."""
    prefix = f".{target.name}{UNFINISHED}"
    with ExitStack() as stack:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _sweep(target.parent, prefix)
            outer = _made(target.parent, prefix, stack)
            inner = outer / target.name
            inner.mkdir(mode=0o755)
            yield inner
        except OSError as error:
            raise unwritable(target, error) from error


def _made(parent: Path, prefix: str, stack: ExitStack) -> Path:
    """A folder whose lock `stack` holds, and that is gone when it closes. A build beside this one takes a folder that
    nobody has locked yet for one that was left behind: then another is made."""
    while True:
        outer = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        with ExitStack() as held:
            held.callback(shutil.rmtree, outer, ignore_errors=True)
            with suppress(FileNotFoundError):
                if (lock := hold(outer / LOCK)) is not None:
                    held.enter_context(lock)
                    stack.enter_context(held.pop_all())
                    return outer


def put(filled: Path, target: Path) -> None:
    """Makes `filled` stand at `target`, on disk. Raises `DatasetExists` where something is."""
    for folder, _, names in os.walk(filled, topdown=False):
        for name in names:
            sync(Path(folder) / name)
        sync(Path(folder))
    try:
        filled.rename(target)
    except (FileExistsError, NotADirectoryError):
        raise taken(target) from None
    except OSError as error:
        if target.exists():  # a folder with something in it: the systems name it differently
            raise taken(target) from None
        raise unwritable(target, error) from error
    sync(target.parent)


def taken(target: Path) -> DatasetExists:
    return DatasetExists(f"{target} is there already and holds something else. It was not touched. Give another --out")


def unwritable(target: Path, error: OSError) -> DatasetUnwritable:
    return DatasetUnwritable(
        f"the dataset cannot be written to {target}: {error.strerror or error}. Nothing of it was left there. "
        "Make room, or give another --out"
    )


def _sweep(parent: Path, prefix: str) -> None:
    """Removes what builds that were killed left here, even before they had a lock; a live one holds its lock."""
    for left in [one for one in parent.iterdir() if one.name.startswith(prefix)]:
        with suppress(OSError):
            if (lock := hold(left / LOCK)) is not None:
                with lock:
                    shutil.rmtree(left, ignore_errors=True)
