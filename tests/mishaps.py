"""Tools that go wrong in ways a till does not: late, with words that cannot be stored, with a probe that hangs.

They write to the ledger of `tests.till`. The late ones wait for the file `<TILL>.go`, so that a test says when."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from loops.environments.tools import EffectKey, tool
from loops.errors import ToolFailed
from tests.till import ledger

PATIENCE_S = 60.0


def _write(line: str) -> None:
    with Path(os.environ["TILL"]).open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def _late() -> None:
    go, pause = Path(f"{os.environ['TILL']}.go"), threading.Event()
    for _ in range(int(PATIENCE_S / 0.02)):
        if go.exists():
            return
        pause.wait(0.02)


def _sent(what: str, key: EffectKey) -> str:
    if f"send {what} {key}" in ledger():
        return f"sent {what}"
    raise ToolFailed(f"{what} was not sent", "not_done")


@tool(effect="probeable", probe=_sent, timeout_s=0.3)
def send(what: str, key: EffectKey) -> str:
    """Send something; the first time it takes long."""
    first = not Path(f"{os.environ['TILL']}.tried").exists()
    Path(f"{os.environ['TILL']}.tried").touch()
    if first:
        _late()
    _write(f"send {what} {key}")
    return f"sent {what}"


def _unreserve(what: str, key: EffectKey) -> None:
    lines = [line for line in ledger() if line != f"reserve {what} {key}"]
    Path(os.environ["TILL"]).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@tool(effect="compensable", undo=_unreserve, timeout_s=0.3)
def reserve(what: str, key: EffectKey) -> str:
    """Reserve something; the first time it takes long."""
    first = not Path(f"{os.environ['TILL']}.tried").exists()
    Path(f"{os.environ['TILL']}.tried").touch()
    if first:
        _late()
    _write(f"reserve {what} {key}")
    return f"reserved {what}"


@tool(effect="unsafe")
def stammer(what: str) -> str:
    """Does it, then raises words that UTF-8 cannot hold."""
    _write(f"stammer {what} -")
    raise RuntimeError("no such file: \udcff")


@tool(effect="unsafe")
def rant(what: str) -> str:
    """Does it, then raises 20 MB of words."""
    _write(f"rant {what} -")
    raise RuntimeError("x" * 20_000_000)


def _hang(what: str, key: EffectKey) -> str:
    _late()
    return "never"


@tool(effect="probeable", probe=_hang, timeout_s=1)
def ask_slowly(what: str, key: EffectKey) -> str:
    """Its probe hangs."""
    _write(f"ask {what} {key}")
    return "asked"


@tool(effect="unsafe")
def tell(text: str) -> str:
    """Tell somebody."""
    _write(f"tell {text}")
    return "told"
