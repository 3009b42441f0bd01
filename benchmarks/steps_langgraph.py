"""LangGraph's steps: a graph of one node that goes back to itself, `durability="sync"`. See `benchmarks.steps`.

    history  the state is a list with a reducer that each step appends its result to, as an agent's messages are kept
    small    the state is the last result alone, the least that LangGraph can write

One session runs on `SqliteSaver`. For many sessions its pages offer two ways, and both are measured: "threads", each
session an `invoke` in a thread over one `SqliteSaver`, which serialises its connection by a lock; and "async", each an
`ainvoke` task over `AsyncSqliteSaver`. Who compares takes the faster of the two."""

from __future__ import annotations

import asyncio
import operator
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph

from benchmarks.steps import PAYLOAD_BYTES

State = Literal["history", "small"]
Way = Literal["threads", "async"]
Run = Callable[[State, Way, int, int], float]

THREADS = 8
"""Sessions under way at once over one `SqliteSaver`. Measured: 936 steps/s with 8, 826 with 100."""


class History(TypedDict):
    results: Annotated[list[str], operator.add]
    done: int


class Small(TypedDict):
    results: list[str]
    done: int


def result(number: int) -> str:
    return str(number).zfill(PAYLOAD_BYTES)


@contextmanager
def serving(folder: Path) -> Iterator[Run]:
    """Yields what runs `sessions` threads of `steps` steps each and says how many seconds they took."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = count()
    with SqliteSaver.from_conn_string(str(folder / "checkpoints.db")) as saver:
        saver.setup()

        def run(state: State, way: Way, sessions: int, steps: int) -> float:
            threads = [f"thread-{next(numbers)}" for _ in range(sessions)]
            if way == "async":
                return asyncio.run(_tasks(folder / "async.db", state, threads, steps))
            graph = graph_of(state, saver, steps)
            with ThreadPoolExecutor(min(THREADS, sessions)) as pool:
                began = time.perf_counter()
                list(pool.map(lambda thread: graph.invoke(begin(), config(thread), durability="sync"), threads))
                return time.perf_counter() - began

        yield run


async def _tasks(path: Path, state: State, threads: list[str], steps: int) -> float:
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        await saver.setup()
        graph = graph_of(state, saver, steps)
        began = time.perf_counter()
        await asyncio.gather(*(graph.ainvoke(begin(), config(thread), durability="sync") for thread in threads))
        return time.perf_counter() - began


def graph_of(state: State, saver: BaseCheckpointSaver[str], steps: int) -> Any:  # noqa: ANN401  LangGraph's own is generic
    def step(before: History) -> History:
        return {"results": [result(before["done"])], "done": before["done"] + 1}

    async def step_async(before: History) -> History:
        return step(before)

    schema = History if state == "history" else Small
    graph: Any = StateGraph(schema)  # its overloads know no choice between two states
    graph.add_node("step", step_async if isinstance(saver, AsyncSqliteSaver) else step, input_schema=schema)
    graph.add_edge(START, "step")
    graph.add_conditional_edges("step", lambda after: "step" if after["done"] < steps else END, ["step", END])
    return graph.compile(checkpointer=saver)


def begin() -> History:
    return {"results": [], "done": 0}


def config(thread: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread}, "recursion_limit": 1_000_000}
