"""The model, the shop and the scenario that the language benchmarks share, for us and for the peer.

The model is the example's endpoint in a process of its own, the shop is the example's on a file of its own, the
scenario is examples/refund.toml with other messages. Two things can be asked of the agent: to refund an order, and to
look many up. It asks a tenth of what was paid back, so that it is never the shop's own bound that keeps a second refund
of an order out."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.report import ROOT
from examples.refund.endpoint import MODEL, running
from examples.refund.policy import Messages, Policy, Reply, refunds
from examples.refund.shop import ORDERS, shop
from loops.randomness import derive
from runtime.hosting.orders import SessionOrder
from runtime.scenario import parse_scenario
from runtime.settings import Settings

FIRST_ORDER = 2000
"""Number of the first order that is only there to be refunded here; the example's own are lower."""
SHARE = 0.1
"""Of what was paid, that is refunded."""
START_S = 60.0
Body = dict[str, Any]
"""A request as the endpoint got it."""


def orders(count: int) -> list[str]:
    return [str(FIRST_ORDER + index) for index in range(count)]


def please_refund(order: str) -> str:
    return f"Please refund my order {order}."


def please_look(times: int) -> str:
    return f"Look {times} orders up, one after the other."


def answer(messages: Messages) -> Reply:
    """What the model says: to `please_look` one look-up an answer, else what the example says, for a tenth."""
    asked = max(i for i, message in enumerate(messages) if message["role"] == "user")
    if (look := re.fullmatch(r"Look (\d+) .*", str(messages[asked]["content"]))) is not None:
        done = sum(message["role"] == "tool" for message in messages[asked:])
        if done == int(look[1]):
            return Reply(text=f"I looked {done} orders up.")
        return Reply(calls=(("find_order", json.dumps({"order": looked_up(done)})),))
    reply = refunds(messages)
    return Reply(text=reply.text, calls=tuple((name, _part(name, arguments)) for name, arguments in reply.calls))


def looked_up(number: int) -> str:
    """The order of the look-up with that number, from 0."""
    return ORDERS[number % len(ORDERS)][0]


def _part(name: str, arguments: str) -> str:
    if name != "refund":
        return arguments
    asked = json.loads(arguments)
    return json.dumps({**asked, "amount": round(asked["amount"] * SHARE, 2)})


class Model:
    """The endpoint as its user sees it: `url`, and the requests that came since they were last taken."""

    def __init__(self, url: str, port: Connection) -> None:
        self.url = url
        self._port = port

    def take_requests(self) -> list[Body]:
        self._port.send("take")
        taken: list[Body] = self._port.recv()
        return taken


@contextmanager
def model(policy: Policy = answer) -> Iterator[Model]:
    """The endpoint in a process of its own. `policy` is a module's own function: it is named over there."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs, policy), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(START_S):
            raise TimeoutError(f"the endpoint did not listen within {START_S:.0f} s")
        yield Model(ours.recv(), ours)
    finally:
        process.terminate()
        process.join()


def _serve(port: Connection, policy: Policy) -> None:
    with running(policy) as endpoint:
        port.send(endpoint.url)
        while port.recv() == "take":
            taken, endpoint.requests = endpoint.requests, []
            port.send(taken)


@contextmanager
def surroundings(shop_file: Path) -> Iterator[None]:
    """What tools and clients find in the environment of this process and of those it starts, within the block."""
    ours = {"SHOP_DB": str(shop_file), "OPENAI_API_KEY": "none"}
    before = {name: os.environ.get(name) for name in ours}
    os.environ |= ours
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def stock(numbers: list[str]) -> None:
    """Puts orders of ada's into the shop."""
    with shop() as database:
        database.executemany(
            "INSERT INTO orders VALUES (?, 'ada', 'a kettle', 30.0)", [(number,) for number in numbers]
        )


def refunded() -> Mapping[str, int]:
    """How many refunds the shop made of each order that got one. Keeps nobody waiting, and may recover what a
    killed process left."""
    with closing(sqlite3.connect(f"{Path(os.environ['SHOP_DB']).as_uri()}?mode=rw", uri=True)) as database:
        return dict(database.execute("SELECT order_id, count(*) FROM refunds GROUP BY order_id").fetchall())


def settings(home: Path, url: str) -> Settings:
    """One session at a time, with the model at `url`."""
    return Settings(home=home, max_sessions=1, model=MODEL, openai_base_url=url)


def order(message: str, *, index: int, stream: bool = True) -> SessionOrder:
    """A session of examples/refund.toml in which ada says only `message`."""
    said = f"messages = [{json.dumps(message)}]"
    text = re.sub(r"^messages = \[.*?^\]", lambda _: said, _scenario(), flags=re.DOTALL | re.MULTILINE)
    if not stream:
        text += "\n[reasoner.language.endpoints.main]\nstream = false\n"
    assert parse_scenario(text, source="the bench").scenario.conversation.messages == (message,)
    return SessionOrder(session=f"{index:012x}", scenario_text=text, seed=derive(0, "benchmark", index))


def system_prompt() -> str:
    return parse_scenario(_scenario(), source="the example").scenario.reasoner.language.system


def _scenario() -> str:
    return (ROOT / "examples" / "refund.toml").read_text(encoding="utf-8")
