"""Our effects: language sessions of the real runner, their tools those of `benchmarks.target`, their model scripted. A
session that was cut off is run again, which takes it up. See `benchmarks.effects`."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

from benchmarks.effects import EFFECTS, Kind, items
from benchmarks.target import VARIABLE
from examples.refund.endpoint import MODEL
from examples.refund.policy import Messages, Reply
from loops.randomness import derive
from loops.reasoners.language.settings import ModelDefaults
from runtime.hosting.executors import this_process
from runtime.hosting.orders import Surroundings
from runtime.hosting.placement import Placement
from runtime.runner import SessionRunner
from runtime.scenario import parse_scenario
from runtime.sessions import stream_of
from telemetry.errors import LogUnwritable
from telemetry.events import Recorded, execute
from telemetry.events.values import ToolCalls
from telemetry.log import open_log

THREADS = 16

SCENARIO = """\
name = "effects"

[environment]
id = "tools:"
[environment.tools]
modules = ["benchmarks.target"]

[conversation]
messages = ["{message}"]

[reasoner]
kind = "language"

[world_model]
kind = "none"

[memory]
when = "never"
recall = 0
"""


def please_put(session: str, kind: Kind) -> str:
    return f"Put the {kind} items of {session}."


def answer(messages: Messages) -> Reply:
    """What the model says: one call for each item, and then that all was tried, whatever came of each."""
    asked = max(i for i, message in enumerate(messages) if message["role"] == "user")
    put = re.fullmatch(r"Put the (\w+) items of (\S+)\.", str(messages[asked]["content"]))
    assert put is not None, "nothing else is asked here"
    tried = sum(message["role"] == "tool" for message in messages[asked:])
    if tried == EFFECTS:
        return Reply(text="I tried them all.")
    return Reply(calls=((f"put_{put[1]}", json.dumps({"item": items(put[2])[tried]})),))


@contextmanager
def serving(folder: Path, url: str) -> Iterator[Callable[[str, Kind], None]]:
    """Yields what runs a session with the model at `url`, or the rest of one that was cut off."""
    os.environ[VARIABLE] = str(folder / "target.db")
    os.environ["OPENAI_API_KEY"] = "none"
    surroundings = Surroundings(models=ModelDefaults(base_url=url, model=MODEL), folder=str(folder))
    with closing(open_log(str(folder / "log.db"))) as log, ThreadPoolExecutor(THREADS) as threads:

        def carry(session: str, kind: Kind) -> None:
            file = parse_scenario(SCENARIO.format(message=please_put(session, kind)), source="the bench")
            runner = SessionRunner(
                stream_of(session),
                file,
                log=log,
                placement=Placement(file.scenario, file.text, log, threads, surroundings=surroundings),
                memory=None,
                owner=this_process(),
                stall=_give_up,
            )
            row = asyncio.run(runner.run(seed=derive(0, "benchmark", 0), cycles=None, stop=lambda: False))
            if row.outcome != "done":
                raise RuntimeError(f"{session} ended in another way than by being done: {row}")

        yield carry


async def _give_up(error: LogUnwritable) -> None:
    raise error


Fate = Literal["seen", "cut off, unknown", "cut off, known"]
"""What the log says of an effect: its outcome is of the process that made it, or that one was killed first and the next
one said that nobody knows, or found out."""


def fates(folder: Path) -> dict[str, Fate]:
    """Of each item that was put."""
    found: dict[str, Fate] = {}
    with closing(open_log(str(folder / "log.db"), mode="read")) as log:
        for head in log.heads(limit=1_000):
            found |= fates_of(log.read(head.stream))
    return found


def fates_of(events: Iterable[Recorded]) -> dict[str, Fate]:
    """The same of one session: who made an attempt and who knew its outcome is told by their epochs."""
    put: dict[str, str] = {}
    made: dict[str, int] = {}
    found: dict[str, Fate] = {}
    for recorded in events:
        match recorded.event:
            case execute.Intended(action=ToolCalls(calls=(call,))) as intended:
                put[intended.effect] = str(call.arguments["item"])
            case execute.Dispatched() as sent:
                made.setdefault(sent.effect, recorded.epoch)
            case execute.UnknownOutcome() as lost:
                found[put[lost.effect]] = "cut off, unknown"
            case execute.Succeeded() as done if done.effect in put:
                found[put[done.effect]] = "seen" if recorded.epoch == made[done.effect] else "cut off, known"
    return found
