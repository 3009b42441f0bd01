"""Processes that attempt effects: how one is named so that its life can be checked, and waiting until it is over.

Knows processes and Ray's nodes; knows nothing of what is attempted. Invariant: "dead" is said only of a process that
can never run again; where that cannot be known, the deadline of what it was given decides."""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from telemetry.events import execute

Life = Literal["alive", "dead", "unknown"]

SKEW_NS = 2_000_000_000
"""How far clocks of machines that keep time by NTP may differ, with room: it keeps them within milliseconds, and a
machine that just woke within a second."""
POLL_S = 0.02
"""Ray ends the phase actors of a killed host after 20 to 35 ms (measured)."""
SLOWEST_POLL_S = 1.0
ASK_TIMEOUT_S = 15.0
"""How long another node may take to start the process that looks at one of its others."""


class Executor(NamedTuple):
    """A process, as `execute.dispatched` names it: `machine:place:started[:node]/pid`."""

    machine: str
    place: str
    """Digest of the machine's boot and the process' pid namespace: where its pid means something."""
    started: str
    """When it was started, in the system's own count since boot; "" where the system does not tell."""
    node: str
    """The Ray node it is on; "" for none."""
    pid: int

    def __str__(self) -> str:
        where = ":".join(part for part in (self.machine, self.place, self.started or "-", self.node) if part)
        return f"{where}/{self.pid}"


def this_process() -> str:
    """The name of the calling process."""
    return _name_of(os.getpid())


@cache
def _name_of(pid: int) -> str:
    """Of the calling process: by pid, because a fork inherits what was cached. Another's pid may be reused."""
    return str(named(pid))


def named(pid: int) -> Executor:
    """A process of this machine, while it lives."""
    node = str(ray.get_runtime_context().get_node_id()) if ray.is_initialized() else ""
    machine = platform.node().replace(":", "-").replace("/", "-")
    return Executor(machine, _place(), _started(pid) or "", node, pid)


def parse(name: str) -> Executor | None:
    """What a name says; None for one of another form, as versions before this wrote."""
    where, _, pid = name.rpartition("/")
    parts = where.split(":")
    if len(parts) not in (3, 4) or not pid.isdigit():
        return None
    machine, place, started, *node = parts
    return Executor(machine, place, "" if started == "-" else started, "".join(node), int(pid))


def life_here(executor: Executor) -> Life:
    """Whether the process lives, asked of this machine; "unknown" for one that runs elsewhere."""
    if executor.place != _place():
        return "unknown"
    started = _started(executor.pid)
    if started is None:
        return "dead"
    if executor.started:
        return "alive" if started == executor.started else "dead"
    return "unknown"  # somebody has its pid, and nobody tells since when


async def life(executor: Executor) -> Life:
    """As `life_here`, asked of the Ray node it runs on where that is not here. A node that Ray gave up may still be
    running, cut off from us: of its processes nothing is known."""
    here = life_here(executor)
    if here != "unknown" or not executor.node or not ray.is_initialized():
        return here
    try:
        nodes = await asyncio.to_thread(ray.nodes)
        if not any(node["NodeID"] == executor.node and node["Alive"] for node in nodes):
            return "unknown"
        asking = ray.remote(life_here).options(
            num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(executor.node, soft=False)
        )
        return await asyncio.wait_for(asking.remote(executor), ASK_TIMEOUT_S)
    except (TimeoutError, GetTimeoutError, RayError):
        return "unknown"


async def over(
    sent: execute.Dispatched,
    *,
    until: int,
    under_way: Callable[[execute.Dispatched], Awaitable[bool]],
    stop: Callable[[], bool],
    waits: Callable[[str | None], None],
) -> bool:
    """Returns True once nothing of what was `sent` can be under way: its executor is known dead, or says by `under_way`
    that it is not, or the time `until` (UTC, ns) has passed; False as soon as `stop()` is true.

    `waits` is told for whom, in words for a person, and None when that is over."""
    executor, poll_s = parse(sent.executor), POLL_S
    try:
        while time.time_ns() < until + SKEW_NS:
            if executor is not None and await life(executor) == "dead":
                return True
            if not await under_way(sent):
                return True
            if stop():
                return False
            left_s = (until + SKEW_NS - time.time_ns()) / 1e9
            who = sent.executor if executor is None else f"pid {executor.pid} on {executor.machine}"
            waits(f"until {who}, which may still be making a call, is known dead; at most {max(left_s, 0):.0f} s")
            await asyncio.sleep(min(poll_s, max(left_s, 0)))
            poll_s = min(poll_s * 1.5, SLOWEST_POLL_S)
        return True
    finally:
        waits(None)


@cache
def _place() -> str:
    """Digest of what makes a pid mean one process: this boot of this machine, and the namespace of the pids seen."""
    if sys.platform == "linux":
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = str(Path("/proc/self/ns/pid").readlink())
    else:
        boot, space = f"{uuid.getnode():x}", platform.node()
    return hashlib.sha256(f"{boot} {space}".encode()).hexdigest()[:12]


def _started(pid: int) -> str | None:
    """When the process was started, "" where the system does not tell; None when there is none, or one that has ended
    and was not waited for yet."""
    if sys.platform != "linux":
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass
        return ""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything
    state, started = fields[0], fields[19]
    if state in "ZX" and threads <= 1:
        return None
    return started
