"""How long a person waits for `aether --help`, beside an interpreter that does nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

TIMEOUT_S = 60.0


def measure_help(calls: int) -> tuple[list[float], list[float]]:
    """Wall times in seconds of `calls` runs of `aether --help` and of `python -c pass`, in turns.

    One run of each comes first and is not counted: it fills the file cache and writes the bytecode."""
    installed = Path(sys.executable).with_name("aether")
    aether = [str(installed)] if installed.exists() else [sys.executable, "-m", "runtime"]
    measured = [(_wall_s([*aether, "--help"]), _wall_s([sys.executable, "-c", "pass"])) for _ in range(calls + 1)]
    ours, peer = zip(*measured[1:], strict=True)
    return list(ours), list(peer)


def _wall_s(command: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=TIMEOUT_S)
    return time.perf_counter() - began
