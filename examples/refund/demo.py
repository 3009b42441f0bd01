"""Plays `examples/refund.toml` and kills the session's host between a refund and its outcome: `make demo-refund`.

Works offline against the scripted endpoint; with OPENAI_BASE_URL (and AETHER_MODEL) against a real model. Ends with 1
when any order was refunded more or less than once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from examples.refund.endpoint import MODEL, running
from examples.refund.shop import HOLD, shop, tables
from telemetry.errors import LogError
from telemetry.events import execute, feel, sense
from telemetry.events import session as session_events
from telemetry.events.values import Message, Say, ToolCalls
from telemetry.log import open_log

SCENARIO = Path(__file__).parents[1] / "refund.toml"
PATIENCE_S = 300.0
TOLD = (
    "sense.observed",
    "feel.inhibited",
    "execute.intended",
    "execute.approval_asked",
    "execute.approval_given",
    "session.resumed",
)
"""What the demo tells of a session."""


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="refund-") as folder:
        here = Path(folder)
        os.environ |= {"AETHER_HOME": folder, "AETHER_LOG": str(here / "aether.db")}
        os.environ |= {"SHOP_DB": str(here / "shop.db"), HOLD: str(here / "hold")}
        scripted = "OPENAI_BASE_URL" not in os.environ
        with running() if scripted else nullcontext() as endpoint:
            if endpoint is not None:
                os.environ |= {"OPENAI_BASE_URL": endpoint.url, "AETHER_MODEL": MODEL, "OPENAI_API_KEY": "none"}
            _say(f"the model is {os.environ.get('AETHER_MODEL')} at {os.environ['OPENAI_BASE_URL']}")
            return _play(here)


def _play(here: Path) -> int:
    log, hold = here / "aether.db", here / "hold"
    hold.touch()
    _say("three messages of ada: refund 1001 (hers, small), 1002 (bob's), 1003 (hers, 420 euros)")
    with _started("run", os.path.relpath(SCENARIO)) as run:
        pid = _host_that_refunds(log, run)
        _say(f"the refund is in the shop's table, its outcome on no log: kill -9 {pid}, the session host")
        os.kill(pid, signal.SIGKILL)
        hold.unlink()
        run.wait(PATIENCE_S)
    (row,) = _aether_json("session", "list")["rows"]
    session = row["session"]
    while row["status"] == "waiting":
        asked = _question(log, session)
        _say(f"the session waits for a person: {asked.why}")
        _aether("session", "approve", session, asked.effect[:12], "--why", "the bicycle came back")
        _aether("session", "resume", session)
        (row,) = _aether_json("session", "list")["rows"]
    _say("what was said and done, from the log")
    sys.stdout.write("".join(f"{line}\n" for line in _told(log, session)))
    _aether("replay", session)
    _say("the shop's tables")
    sys.stdout.write(f"{tables()}\n")
    return _judge()


def _host_that_refunds(log: Path, run: subprocess.Popen[bytes]) -> int:
    """The pid of the host whose refund tool has paid and not yet answered."""
    late = time.monotonic() + PATIENCE_S
    while time.monotonic() < late and run.poll() is None:
        with shop() as database:
            (refunds,) = database.execute("SELECT count(*) FROM refunds").fetchone()
        if refunds and (pid := _executor(log)):
            return pid
        time.sleep(0.05)
    raise SystemExit("no refund was made; see what the run printed above")


def _executor(log: Path) -> int | None:
    try:
        with closing(open_log(log, mode="read")) as store:
            sent = [r.event for r in store.read_all(types=("execute.dispatched",))]
    except LogError:
        return None
    last = sent[-1] if sent else None
    return int(last.executor.rpartition("/")[2]) if isinstance(last, execute.Dispatched) else None


def _question(log: Path, session: str) -> execute.ApprovalAsked:
    with closing(open_log(log, mode="read")) as store:
        (*_, asked) = (r.event for r in store.read(f"session/{session}", types=("execute.approval_asked",)))
    assert isinstance(asked, execute.ApprovalAsked)
    assert isinstance(asked.action, ToolCalls)
    return asked


def _told(log: Path, session: str) -> Iterator[str]:
    """The conversation: who said what, what was called, and what became of it."""
    with closing(open_log(log, mode="read")) as store:
        for recorded in store.read(f"session/{session}", types=TOLD):
            match recorded.event:
                case sense.Observed(observations=heard):
                    yield from (f"  ada      {o.text}" for o in heard if isinstance(o, Message))
                case execute.Intended(action=Say(text=text)):
                    yield f"  agent    {text}"
                case execute.Intended(action=ToolCalls(calls=calls)):
                    yield from (f"  calls    {call.tool} {json.dumps(call.arguments)}" for call in calls)
                case feel.Inhibited(rules=rules):
                    yield f"  held back by the rule {', '.join(rules)}"
                case execute.ApprovalAsked(why=why):
                    yield f"  asks for leave: {why}"
                case execute.ApprovalGiven(by=by, granted=granted):
                    yield f"  {by} {'allows' if granted else 'refuses'} it"
                case session_events.Resumed(after="interrupted"):
                    yield "  (the host was killed here; another took the session up)"


def _judge() -> int:
    with shop() as database:
        done = dict(database.execute("SELECT order_id, count(*) FROM refunds GROUP BY order_id").fetchall())
    expected = {"1001": 1, "1003": 1}
    _say(f"refunds by order: {done}" + ("" if done == expected else f", expected {expected}"))
    return 0 if done == expected else 1


@contextmanager
def _started(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    _say(f"> aether {' '.join(words)}")
    with subprocess.Popen([sys.executable, "-m", "runtime", *words]) as process:
        try:
            yield process
        finally:
            process.terminate()


def _aether(*words: str) -> None:
    with _started(*words) as process:
        process.wait(PATIENCE_S)


def _aether_json(*words: str) -> Any:  # noqa: ANN401  JSON
    return json.loads(subprocess.check_output([sys.executable, "-m", "runtime", *words, "--json"]))


def _say(line: str) -> None:
    sys.stdout.write(f"\n— {line}\n" if not line.startswith(">") else f"\n{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
