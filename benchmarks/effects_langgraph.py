"""Effects on LangGraph: one node an effect, `SqliteSaver`, `durability="sync"`. A thread that was cut off is taken up
as its pages say, by `invoke(None)`. It knows neither keys nor probes of effects; what an author can do by hand about
keys, `benchmarks.langgraph_peer` shows. See `benchmarks.effects`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph

from benchmarks.effects import EFFECTS, Kind, items
from benchmarks.target import VARIABLE, put


class Putting(TypedDict):
    session: str
    done: int


def _put(state: Putting) -> Putting:
    put(items(state["session"])[state["done"]], None)
    return {"session": state["session"], "done": state["done"] + 1}


def _onwards(state: Putting) -> str:
    return "put" if state["done"] < EFFECTS else END


@contextmanager
def serving(folder: Path) -> Iterator[Callable[[str, Kind], None]]:
    """Yields what runs a session, or the rest of one that was cut off."""
    os.environ[VARIABLE] = str(folder / "target.db")
    with SqliteSaver.from_conn_string(str(folder / "checkpoints.db")) as saver:
        graph = StateGraph(Putting)
        graph.add_node("put", _put)
        graph.add_edge(START, "put")
        graph.add_conditional_edges("put", _onwards, ["put", END])
        compiled = graph.compile(checkpointer=saver)

        def carry(session: str, _: Kind) -> None:
            config: RunnableConfig = {"configurable": {"thread_id": session}, "recursion_limit": 1_000}
            begun = saver.get_tuple(config) is not None
            compiled.invoke(None if begun else Putting(session=session, done=0), config, durability="sync")

        yield carry
