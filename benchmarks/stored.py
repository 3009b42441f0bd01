"""What a step costs on disk, ours and the peers': a new file, `sessions` sessions of `steps` steps one after the other,
cleanly closed. An empty file of the same make is taken off, so that the figure does not flatter long sessions alone.

Invariant: whole files are measured: rows, indexes, checkpoints, and of ours the frames of the cycles too."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

Whose = Literal["ours", "langgraph history", "langgraph small", "dbos"]


class Stored(NamedTuple):
    """Bytes a step."""

    file: float
    beside: float
    """In other files: our snapshots, a cache that can be dropped at any time."""


@contextmanager
def serving(folder: Path) -> Iterator[Callable[[Whose, int, int], Stored]]:
    """Yields what says the bytes a step. Each contender is loaded where it is asked for."""
    folder.mkdir(parents=True, exist_ok=True)

    def measure(whose: Whose, sessions: int, steps: int) -> Stored:
        write = {"ours": _ours, "dbos": _dbos}.get(whose, _langgraph)
        with tempfile.TemporaryDirectory(dir=folder) as name:
            file, empty = Path(name) / "steps.db", Path(name) / "empty.db"
            write(whose, empty, 0, 0)
            write(whose, file, sessions, steps)
            beside = sum(path.stat().st_size for path in Path(name).rglob("*") if path.is_file())
            beside -= file.stat().st_size + empty.stat().st_size
            steps_in_all = sessions * steps
            return Stored((file.stat().st_size - empty.stat().st_size) / steps_in_all, beside / steps_in_all)

    yield measure


def _ours(_: Whose, file: Path, sessions: int, steps: int) -> None:
    from benchmarks.steps_ours import taken
    from telemetry.log import open_log

    with closing(open_log(str(file))) as log:
        for number in range(sessions):
            asyncio.run(taken(log, f"session/{number:012x}", steps, "cycle"))


def _langgraph(whose: Whose, file: Path, sessions: int, steps: int) -> None:
    from langgraph.checkpoint.sqlite import SqliteSaver

    from benchmarks.steps_langgraph import begin, config, graph_of

    with SqliteSaver.from_conn_string(str(file)) as saver:
        saver.setup()
        graph = graph_of("history" if whose == "langgraph history" else "small", saver, steps)
        for number in range(sessions):
            graph.invoke(begin(), config(f"thread-{number}"), durability="sync")


def _dbos(_: Whose, file: Path, sessions: int, steps: int) -> None:
    from benchmarks.steps_dbos import launched, session

    with launched(file):
        for _number in range(sessions):
            session(steps)
