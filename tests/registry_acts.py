"""Acts on a registry that die at a step: `python -m tests.registry_acts` reads `ACT STEP ROOT` a line and answers the
exit code of a process that did it there, and was gone before its step of that number; step 0 is none."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path

import world_model.checkpoint  # noqa: F401  loaded once, with torch, before the processes part
from runtime.models.registry.by_hand import promote_by_hand, roll_back_by_hand
from runtime.models.registry.store import Registry, folder_of, lay_down, laying_down
from telemetry.files import write_file

DIED = 9
OLD, NEW = "old", "new"
"""Folders of ROOT with a model each; the old one stands in the registry."""
LOG = "log.db"
"""Says so."""


def here(root: Path) -> Registry:
    return Registry(folder=root / "models")


def at_url(root: Path) -> Registry:
    return Registry(folder=root / "cache", url=f"file://{root}/models")


def id_of(root: Path, which: str) -> str:
    return (root / which / "id").read_text()


def lay(registry: Registry, root: Path, which: str) -> None:
    name, _, digest = id_of(root, which).partition("@")
    with laying_down(registry, name) as written:
        written.mkdir()
        for file in sorted((root / which).glob("*.*")):
            write_file(written / file.name, file.read_bytes())
        lay_down(registry, written, digest)


def fetch(root: Path) -> None:
    folder_of(at_url(root), id_of(root, OLD))


ACTS: dict[str, Callable[[Path], object]] = {
    "lay down": lambda root: lay(here(root), root, NEW),
    "send": lambda root: lay(at_url(root), root, NEW),
    "fetch": fetch,
    "promote": lambda root: promote_by_hand(str(root / LOG), here(root), id_of(root, NEW), why=""),
    "roll back": lambda root: roll_back_by_hand(str(root / LOG), here(root), "line", why=""),
}
STEPS = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "fcntl.flock"}
"""Audited events that change a disk, or who may; and every `open` for writing, and every fsync."""


def dying(act: Callable[[Path], object], root: Path, *, step: int) -> int:
    """The exit code of a process that does `act`, and is gone just before its `step`."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    steps = itertools.count(1)

    def count() -> None:
        if next(steps) == step:  # two threads never have the same
            os._exit(DIED)

    def heard(event: str, given: tuple[object, ...]) -> None:
        if event in STEPS or (event == "open" and isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_RDWR)):
            count()

    fsync = os.fsync

    def synced(file: int) -> None:
        count()
        fsync(file)

    os.fsync = synced  # type: ignore[assignment]  # in this process, which ends here
    sys.addaudithook(heard)
    try:
        act(root)
    except BaseException as error:  # noqa: BLE001  a forked process must end here, whatever became of it
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    for line in sys.stdin:
        name, number, place = line.rstrip("\n").split("\t")
        print(dying(ACTS[name], Path(place), step=int(number)), flush=True)  # noqa: T201  an answer
