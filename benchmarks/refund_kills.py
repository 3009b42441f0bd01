"""Refunds across kills of a real session host: one session, one order and one kill at a time.

The intent of a refund is seen on the log as soon as it is there. `Hosts.run` takes the sessions of a killed host up
again, as `aether run` does."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

from benchmarks.kills import Fell, Kills, result, strike, until
from benchmarks.scripted import order, orders, please_refund, settings, stock
from runtime.hosting.hosts import Hosts
from runtime.sessions import stream_of
from telemetry.events import execute, session
from telemetry.events.values import ToolCalls
from telemetry.log import EventLog, open_log


def measure_kills(folder: Path, url: str, *, kills: int, seed: int) -> Kills:
    """On the Ray that the caller is connected to, with the model at `url`. Raises RuntimeError when a session does not
    come to its end."""
    numbers = orders(kills)
    stock(numbers)
    sessions = [order(please_refund(number), index=index) for index, number in enumerate(numbers)]
    streams = [stream_of(one.session) for one in sessions]
    host = Hosts(settings(folder, url))
    try:
        with closing(open_log(host.url, mode="read")) as log, ThreadPoolExecutor(1) as killer:
            struck = killer.submit(_strike, log, dict(zip(streams, numbers, strict=True)), random.Random(seed))
            for ended, error in host.run(sessions, watch=lambda _: None):
                if error is not None:
                    raise RuntimeError(f"session {ended} did not come to its end") from error
            fell = struck.result()
            _check_ended(log, streams)
    finally:
        host.close()
    return result(fell, numbers)


def _strike(log: EventLog, orders: dict[str, str], chance: random.Random) -> list[Fell]:
    """Kills the host once while it refunds each of the orders, which are named by the streams of their sessions."""
    fell = []
    for stream, number in orders.items():
        sent = until(partial(_sent, log, stream), what=f"a refund of order {number}")
        pid = int(sent.executor.rpartition("/")[2])
        fell.append(strike(number, pid, chance, recorded=partial(_has_outcome, log, stream, sent.effect)))
    return fell


def _sent(log: EventLog, stream: str) -> execute.Dispatched | None:
    """The refund that was intended and handed to its executor, which is one commit."""
    effect = None
    for recorded in log.read(stream, types=("execute.intended", "execute.dispatched")):
        match recorded.event:
            case execute.Intended(action=ToolCalls(calls=calls)) if any(call.tool == "refund" for call in calls):
                effect = recorded.event.effect
            case execute.Dispatched() as sent if sent.effect == effect:
                return sent
    return None


def _has_outcome(log: EventLog, stream: str, effect: str) -> bool:
    outcomes = log.read(stream, types=("execute.succeeded", "execute.failed", "execute.unknown"))
    return any(getattr(recorded.event, "effect", None) == effect for recorded in outcomes)


def _check_ended(log: EventLog, streams: Sequence[str]) -> None:
    for stream in streams:
        (last,) = (recorded.event for recorded in log.read(stream, types=("session.closed",)))
        if not isinstance(last, session.Closed) or last.reason != "done":
            raise RuntimeError(f"{stream} ended in another way than by being done: {last}")
