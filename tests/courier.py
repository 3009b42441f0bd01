"""Tools of every class that must be fenced, which take long on their way out: before they ask whether they may send, or
after they asked. A phase actor makes its calls side by side, so each changes what arrived under a lock.

The file TILL is what arrived: a line `<tool> <what> <key>`, in the order it became visible. While `<TILL>.hold` is
there it says where a call waits, `before` its check or `after` it; who waits adds `<tool> <pid>` to `<TILL>.waits`."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from loops.environments.tools import Check, EffectKey, tool
from loops.errors import ToolFailed

LATE_S = 200.0
"""Longer than any test holds a call; below the tools' time-outs, so that none is given up."""


def arrived() -> list[str]:
    """What became visible so far."""
    with _alone():
        return _lines()


def waiting() -> dict[str, int]:
    """The tools that wait or waited, and the process of each."""
    path = _file(".waits")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {name: int(pid) for name, pid in (line.split() for line in lines)}


def _file(suffix: str = "") -> Path:
    return Path(f"{os.environ['TILL']}{suffix}")


def _lines() -> list[str]:
    path = _file()
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


@contextmanager
def _alone() -> Iterator[None]:
    with _file(".lock").open("a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write(line: str, suffix: str = "") -> None:
    with _file(suffix).open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


def send(name: str, what: str, key: str, check: Callable[[], None], *, held: bool = True) -> str:
    """What every tool does; unless it is `held` it waits for nothing."""
    where = _where() if held else ""
    if where == "before":
        _wait(name)
    check()
    if where == "after":
        _wait(name)
    with _alone():
        _write(f"{name} {what} {key}")
    return f"{name} {what}: done"


def _where() -> str:
    with suppress(FileNotFoundError):  # nothing is held, or not any more
        return _file(".hold").read_text(encoding="utf-8")
    return ""


def _wait(name: str) -> None:
    _write(f"{name} {os.getpid()}", ".waits")
    late = time.monotonic() + LATE_S
    while _file(".hold").exists() and time.monotonic() < late:
        time.sleep(0.01)


@tool(effect="keyed", timeout_s=250)
def pay(what: str, key: EffectKey, check: Check) -> str:
    """Pay; the bank knows a key that it has seen."""
    if f"pay {what} {key}" in arrived():
        return f"pay {what}: done"
    return send("pay", what, key, check)


def _delivered(what: str, key: EffectKey) -> str:
    if f"deliver {what} {key}" in arrived():
        return f"deliver {what}: done"
    raise ToolFailed(f"{what} was not delivered", "not_done")


@tool(effect="probeable", probe=_delivered, timeout_s=250)
def deliver(what: str, key: EffectKey, check: Check) -> str:
    """Deliver; the courier's book says what was."""
    return send("deliver", what, key, check)


def _unbook(what: str, key: EffectKey) -> None:
    with _alone():
        kept = [line for line in _lines() if line != f"book {what} {key}"]
        _file().write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


@tool(effect="compensable", undo=_unbook, timeout_s=250)
def book(what: str, key: EffectKey, check: Check) -> str:
    """Book; it can be taken back."""
    return send("book", what, key, check)


@tool(effect="unsafe", timeout_s=250)
def post(what: str, key: EffectKey, check: Check) -> str:
    """Post; nobody can tell afterwards."""
    return send("post", what, key, check)


@tool(effect="read")
def look(what: str) -> str:
    """Look it up."""
    return f"{what} is there"
