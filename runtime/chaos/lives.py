"""One life of a session: a forked process that runs it and kills itself at a commit boundary, or reaches its end.

Knows the real runner, placement and log; knows no Ray. Invariant: what a life says was acknowledged is written down
before anything after the commit can run, so it outlives the kill."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, cast

from runtime.chaos.values import ChaosOrder
from runtime.hosting.orders import Surroundings
from runtime.hosting.placement import Placement
from runtime.runner import SessionRunner
from runtime.scenario import ScenarioFile, parse_scenario
from runtime.sessions import stream_of
from telemetry.errors import LogUnwritable
from telemetry.events import Draft, Recorded
from telemetry.log import EventLog, open_log

if TYPE_CHECKING:
    from runtime.hosting.recall import HostMemory

SESSION = "chaos"
"""The same in every life, so that effects keep their keys from life to life."""
STREAM = stream_of(SESSION)
THREADS = 16
NEVER = 0
"""The boundary at which a life is not killed."""


class DyingLog:
    """A log whose process is killed at boundary number `at`, from 1. Tells `acknowledged` of each commit."""

    def __init__(self, log: EventLog, *, at: int, acknowledged: Path) -> None:
        self._log = log
        self._at = at
        self._seen = 0
        self._lock = Lock()
        self._acknowledged = os.open(acknowledged, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def __getattr__(self, name: str) -> object:
        return getattr(self._log, name)

    def submit(
        self, stream: str, drafts: Sequence[Draft], *, expected_version: int, epoch: int
    ) -> Future[tuple[Recorded, ...]]:
        self._boundary()
        written = self._log.submit(stream, drafts, expected_version=expected_version, epoch=epoch)
        written.add_done_callback(self._resolved)  # the first callback, so it runs before anybody else's
        return written

    def _resolved(self, written: Future[tuple[Recorded, ...]]) -> None:
        if written.exception() is not None:
            return
        words = (f"{r.stream} {r.version} {r.hash.hex()}" for r in written.result())
        os.write(self._acknowledged, f"{';'.join(words)}\n".encode())  # the system keeps it when the process dies
        self._boundary()

    def _boundary(self) -> None:
        with self._lock:
            self._seen += 1
            if self._seen == self._at:
                os.kill(os.getpid(), signal.SIGKILL)


def fresh(order: ChaosOrder) -> None:
    """Empties the world, then copies the scenario's workspace into it."""
    if order.world.exists():
        shutil.rmtree(order.world)
    order.world.mkdir()
    workspace = _file(order).scenario.environment.tools.workspace
    if workspace is not None and (Path(order.folder) / workspace).is_dir():
        shutil.copytree(Path(order.folder) / workspace, order.world / workspace)


def surroundings_of(order: ChaosOrder) -> Surroundings:
    """The user's modules and trained models, and the workspace that was copied into the world."""
    return Surroundings(models=order.models, folder=str(order.world), modules=order.folder, registry=order.registry)


def life(order: ChaosOrder, *, at: int) -> int:
    """Lives once in a process of its own: 0 when the session came to its end, -9 when it was killed, else 1.

    The caller must have no threads. What the life printed is in `said`."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            said = os.open(_said(order), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(said, 1)
            os.dup2(said, 2)
            _live(order, at=at)
            code = 0
        except BaseException:  # noqa: BLE001  whatever ended it is told, and the fork must not go on as its parent
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def said(order: ChaosOrder) -> str:
    """The last line that the last life printed: its error, where it ended by one."""
    lines = _said(order).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def acknowledged_file(world: Path) -> Path:
    """Where lives in this world write down what they were told is on disk."""
    return world / "acknowledged.txt"


def acknowledged(order: ChaosOrder) -> Iterator[list[tuple[str, int, str]]]:
    """Commit by commit, the (stream, version, hash) that lives in this world were told is on disk."""
    path = acknowledged_file(order.world)
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        events = (event.rsplit(" ", 2) for event in line.split(";"))
        yield [(stream, int(version), digest) for stream, version, digest in events]


def _live(order: ChaosOrder, *, at: int) -> None:
    surroundings = surroundings_of(order)
    surroundings.enter()
    file = _file(order)
    with (
        closing(open_log(order.log)) as store,
        ThreadPoolExecutor(max_workers=THREADS) as threads,
        _memory(file, store) as memory,
    ):
        log = cast(EventLog, DyingLog(store, at=at, acknowledged=acknowledged_file(order.world)))
        runner = SessionRunner(
            STREAM,
            file,
            log=log,
            placement=Placement(file.scenario, file.text, log, threads, surroundings=surroundings),
            memory=memory,
            owner=f"chaos/{os.getpid()}",
            stall=_give_up,
        )
        asyncio.run(runner.run(seed=order.seed, cycles=order.cycles, stop=lambda: False))


def _file(order: ChaosOrder) -> ScenarioFile:
    """With every phase in this process: where a phase runs never changes what it does."""
    file = parse_scenario(order.scenario_text, source=order.source)
    return replace(file, scenario=file.scenario.model_copy(update={"placement": {}, "pools": {}}))


@contextmanager
def _memory(file: ScenarioFile, log: EventLog) -> Iterator[HostMemory | None]:
    if not file.scenario.memory.recall:
        yield None
        return
    from memory.project import EpisodeProjection  # loads Qdrant, which not every scenario needs
    from runtime.hosting.recall import HostMemory

    with closing(HostMemory(EpisodeProjection(log, folder=Path(f"{log.url}.memory")))) as memory:
        yield memory


async def _give_up(error: LogUnwritable) -> None:
    raise error


def _said(order: ChaosOrder) -> Path:
    return order.world / "said.txt"
