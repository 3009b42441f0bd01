"""One JSON line a figure, on stdout and in build/bench.jsonl. Knows the lines' form, not what is measured.

Invariant: in the file every figure stands below the `{"run": …}` line of the process that measured it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

ROOT = Path(__file__).parents[1]
LINES = ROOT / "build" / "bench.jsonl"

Op = Literal["<=", ">="]


class Line(BaseModel):
    # An infinity or NaN is refused: JSON has neither, and pydantic would write null.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Figure(Line):
    """One measured number. It must reach `floor` and should reach `aim`; `op` says which way is good."""

    figure: str
    value: float
    unit: str
    op: Op
    floor: float | None
    aim: float | None
    n: int
    samples: tuple[float, ...]

    def met(self, bound: float | None) -> bool | None:
        """Whether the value reaches `bound`; None where there is no bound."""
        if bound is None:
            return None
        return self.value <= bound if self.op == "<=" else self.value >= bound


class Run(Line):
    """Where and when the figures below it were measured."""

    date: datetime
    commit: str
    machine: str
    python: str
    profile: Literal["short", "full"]


class Header(Line):
    run: Run


def figure(
    name: str,
    *,
    value: float,
    unit: str,
    op: Op,
    floor: float | None = None,
    aim: float | None = None,
    samples: Sequence[float],
    path: Path = LINES,
) -> Figure:
    """Prints the figure's line and appends it to `path`, below this process's header.

    `samples` are the raw measurements behind `value`, in its unit. Raises pydantic's ValidationError for a
    value, bound or sample that is NaN or infinite; nothing is written then."""
    measured = Figure(
        figure=name,
        value=value,
        unit=unit,
        op=op,
        floor=floor,
        aim=aim,
        n=len(samples),
        samples=tuple(samples),
    )
    line = measured.model_dump_json()
    _begin(path)
    _append(path, line)
    print(line, flush=True)
    return measured


def progress(area: str, what: str) -> None:
    """Tells whoever waits what is measured now."""
    print(f"{area}: {what}", file=sys.stderr, flush=True)


def short() -> bool:
    """Whether PROFILE=short asks each target to stay within 10 minutes. ValueError for an unknown profile."""
    return profile() == "short"


def profile() -> Literal["short", "full"]:
    match os.environ.get("PROFILE", "full"):
        case "short":
            return "short"
        case "full" | "":
            return "full"
        case other:
            raise ValueError(f"PROFILE={other} is not known; leave it out or say PROFILE=short")


@cache
def _begin(path: Path) -> None:
    """Writes the header, once a process and file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    run = Run(
        date=datetime.now(UTC).replace(microsecond=0),
        commit=commit(),
        machine=machine(),
        python=platform.python_version(),
        profile=profile(),
    )
    _append(path, Header(run=run).model_dump_json())


def _append(path: Path, line: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def commit() -> str:
    """Short hash of the checkout, with `+` where tracked files differ from it; `unknown` outside git."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return head + ("+" if changed else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip()


def machine() -> str:
    """Processor, usable cores, memory and system, in one line; no name of the machine and no path."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{_processor()}, {cores} cores, {memory_gib:.0f} GiB, {platform.system()} {platform.machine()}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"
