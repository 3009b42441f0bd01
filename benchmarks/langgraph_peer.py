"""The same agent on LangGraph: its graph of a model and a `ToolNode`, `ChatOpenAI` at the same endpoint, the example
shop's functions as tools, `SqliteSaver` with `durability="sync"`.

It runs in processes that are forked from one that has imported everything, so a killed one is back in milliseconds;
it is then resumed as LangGraph documents it, by `invoke(None, config)` on the same thread.

LangGraph has no key of an effect. What comes nearest is the tool call's id: it is the model's, stands in the checkpoint
that is on disk before the tool runs, and so is the same when the tool runs again. `key="call"` hands that to the shop,
which is what LangGraph's pages on durable execution ask for ("use idempotency keys"); `key="none"` is a tool that
was written without thinking of it, to which each run is a refund of its own."""

from __future__ import annotations

import multiprocessing
import os
import random
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from itertools import pairwise
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Annotated, Literal

from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, InjectedToolCallId, tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from pydantic import SecretStr

from benchmarks.kills import Fell, Kills, result, strike, until
from benchmarks.scripted import START_S, orders, please_look, please_refund, stock, surroundings, system_prompt
from examples.refund import shop
from examples.refund.endpoint import MODEL

Key = Literal["call", "none"]

LONG_S = 300.0
FORKS = multiprocessing.get_context("forkserver")
REFUND_INTENDED = 3
"""Step of the checkpoint that holds the model's call of the refund: 0 is the request, 1 and 2 are the model's and the
tool's step for the look-up."""


@tool
def find_order(order: str) -> shop.Order:
    """Look an order up: whose it is, what was bought, what was paid, what was refunded."""
    return shop.find_order(order)


@tool
def email(to: str, subject: str, body: str) -> str:
    """Send an e-mail. It cannot be taken back, and nobody can say afterwards whether it was sent."""
    return shop.email(to, subject, body)


@tool("refund")
def refund_by_call(
    order: str, customer: str, amount: float, tool_call_id: Annotated[str, InjectedToolCallId]
) -> shop.Refund:
    """Pay money for an order back to its customer."""
    return shop.refund(order, customer, amount, tool_call_id)


@tool("refund")
def refund_afresh(order: str, customer: str, amount: float) -> shop.Refund:
    """Pay money for an order back to its customer."""
    return shop.refund(order, customer, amount, uuid.uuid4().hex)


REFUNDS: dict[Key, BaseTool] = {"call": refund_by_call, "none": refund_afresh}


class Agent:
    """The graph on a checkpoint file. `seconds` are those of its steps: a model's call and its tool's, both on disk."""

    def __init__(self, saver: SqliteSaver, url: str, key: Key) -> None:
        tools = [find_order, REFUNDS[key], email]
        model = ChatOpenAI(model=MODEL, base_url=url, api_key=SecretStr("none"), max_retries=0).bind_tools(tools)
        system = system_prompt()

        def ask(state: MessagesState) -> MessagesState:
            return {"messages": [model.invoke([("system", system), *state["messages"]])]}

        graph = StateGraph(MessagesState)
        graph.add_node("agent", ask)
        graph.add_node("tools", ToolNode(tools))
        graph.add_edge(START, "agent")
        graph.add_conditional_edges("agent", tools_condition)
        graph.add_edge("tools", "agent")
        self._graph = graph.compile(checkpointer=saver)
        self._saver = saver

    def run(self, thread: str, message: str | None) -> None:
        """To the answer; without a message the thread goes on where it was cut off."""
        given = None if message is None else MessagesState(messages=[HumanMessage(message)])
        self._graph.invoke(given, _config(thread), durability="sync")

    def seconds(self, thread: str) -> list[float]:
        """From each tool's checkpoint to the next, by the checkpoints' own clock."""
        found = reversed(list(self._saver.list(_config(thread))))
        at = [datetime.fromisoformat(one.checkpoint["ts"]) for one in found if _is_of_a_tool(one.metadata["step"])]
        return [(end - begin).total_seconds() for begin, end in pairwise(at)]


def _config(thread: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread}, "recursion_limit": 10_000}


def _is_of_a_tool(step: int) -> bool:
    return step > 0 and step % 2 == 0


def _serve(port: Connection, folder: str, url: str, key: Key) -> None:
    """Does what comes through the port until it closes: runs a thread, and answers with the seconds of its steps."""
    os.environ["SHOP_DB"] = str(Path(folder) / "shop.db")
    with SqliteSaver.from_conn_string(str(Path(folder) / "checkpoints.db")) as saver:
        agent = Agent(saver, url, key)
        port.send(None)
        while True:
            try:
                thread, message = port.recv()
            except EOFError:
                return
            agent.run(thread, message)
            port.send(agent.seconds(thread))


class Process:
    """An agent in a process of its own, which works while nobody waits for it."""

    def __init__(self, folder: Path, url: str, *, key: Key = "call") -> None:
        FORKS.set_forkserver_preload([__name__])
        self._port, theirs = FORKS.Pipe()
        self._process: ForkServerProcess = FORKS.Process(
            target=_serve, args=(theirs, str(folder), url, key), daemon=True
        )
        self._process.start()
        theirs.close()
        self._answer(START_S)

    @property
    def pid(self) -> int:
        pid = self._process.pid
        assert pid is not None, "it was started"
        return pid

    def begin(self, thread: str, message: str | None) -> None:
        self._port.send((thread, message))

    def ended(self) -> list[float]:
        """Waits; the seconds of its steps."""
        return self._answer(LONG_S) or []

    def _answer(self, timeout_s: float) -> list[float] | None:
        if not self._port.poll(timeout_s):
            raise TimeoutError(f"LangGraph's process did not answer within {timeout_s:g} s")
        answer: list[float] | None = self._port.recv()
        return answer

    def close(self) -> None:
        self._process.kill()
        self._process.join()
        self._port.close()


class Looking:
    """A warm agent that looks orders up, as `overhead.Looking`. Close it."""

    def __init__(self, folder: Path, url: str) -> None:
        folder.mkdir(parents=True)
        self._process = Process(folder, url)
        self._threads = 0

    def steps_s(self, looks: int) -> list[float]:
        self._threads += 1
        self._process.begin(f"looking-{self._threads}", please_look(looks))
        return self._process.ended()

    def close(self) -> None:
        self._process.close()


def measure_kills(folder: Path, url: str, *, kills: int, seed: int, key: Key) -> Kills:
    """As `refund_kills.measure_kills`: one thread, one order and one kill at a time, with the same delays."""
    folder.mkdir(parents=True)
    numbers, chance = orders(kills), random.Random(seed)
    with surroundings(folder / "shop.db"), _checkpoints(folder) as checkpoints:
        stock(numbers)
        fell: list[Fell] = []
        process = Process(folder, url, key=key)
        try:
            for number in numbers:
                process.begin(number, please_refund(number))
                until(partial(_intended, checkpoints, number), what=f"a refund of order {number}")
                fell.append(strike(number, process.pid, chance, recorded=partial(_has_outcome, checkpoints, number)))
                process.close()
                process = Process(folder, url, key=key)
                process.begin(number, None)
                process.ended()
        finally:
            process.close()
        return result(fell, numbers)


@contextmanager
def _checkpoints(folder: Path) -> Iterator[sqlite3.Connection]:
    with SqliteSaver.from_conn_string(str(folder / "checkpoints.db")) as saver:
        saver.setup()
        yield saver.conn


def _intended(checkpoints: sqlite3.Connection, thread: str) -> bool | None:
    return bool(checkpoints.execute(f"SELECT 1 {_AT_REFUND}", (thread, REFUND_INTENDED)).fetchall()) or None


def _has_outcome(checkpoints: sqlite3.Connection, thread: str) -> bool:
    """A task's writes stand beside the checkpoint that it began from, and are not made again."""
    found = f"SELECT 1 FROM writes WHERE channel = 'messages' AND checkpoint_id IN (SELECT checkpoint_id {_AT_REFUND})"
    return bool(checkpoints.execute(found, (thread, REFUND_INTENDED)).fetchall())


_AT_REFUND = "FROM checkpoints WHERE thread_id = ? AND json_extract(CAST(metadata AS TEXT), '$.step') = ?"
