"""DBOS's steps: a workflow of steps on its default, a SQLite system database. See `benchmarks.steps`.

Each step returns its result, which DBOS writes before the next one begins. One session is the workflow called as a
plain function. For many, its pages offer `start_workflow`, a thread for each with a bound ("threads"), and async
workflows of async steps ("async"); both are measured, and who compares takes the faster of the two."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from dbos import DBOS, DBOSConfig

from benchmarks.steps import PAYLOAD_BYTES

Way = Literal["threads", "async"]
THREADS = 4
"""Workflows under way at once (`max_executor_threads`). Measured with 100 of them: 360 steps/s with 4, 255 with 8, 185
without a bound, which is the default: SQLite's writers wait for each other."""

Run = Callable[[Way, int, int], float]


def result(number: int) -> str:
    return str(number).zfill(PAYLOAD_BYTES)


@DBOS.step()
def step(number: int) -> str:
    return result(number)


@DBOS.workflow()
def session(steps: int) -> None:
    for number in range(steps):
        step(number)


@DBOS.step()
async def step_async(number: int) -> str:
    return result(number)


@DBOS.workflow()
async def session_async(steps: int) -> None:
    for number in range(steps):
        await step_async(number)


@contextmanager
def launched(file: Path) -> Iterator[None]:
    """DBOS on `file`, until the block ends. What was under way there is recovered, as its pages say."""
    file.parent.mkdir(parents=True, exist_ok=True)
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": f"sqlite:///{file.absolute()}",
        "log_level": "ERROR",
        "max_executor_threads": THREADS,
    }
    DBOS(config=config)
    try:
        DBOS.launch()
        yield
    finally:
        DBOS.destroy()


@contextmanager
def serving(folder: Path) -> Iterator[Run]:
    """Yields what runs `sessions` workflows of `steps` steps each and says how many seconds they took."""
    with launched(folder / "dbos.sqlite"):

        def run(way: Way, sessions: int, steps: int) -> float:
            if way == "async":
                return asyncio.run(_tasks(sessions, steps))
            began = time.perf_counter()
            if sessions == 1:
                session(steps)
            else:
                for handle in [DBOS.start_workflow(session, steps) for _ in range(sessions)]:
                    handle.get_result()
            return time.perf_counter() - began

        yield run


async def _tasks(sessions: int, steps: int) -> float:
    began = time.perf_counter()
    await asyncio.gather(*(session_async(steps) for _ in range(sessions)))
    return time.perf_counter() - began
