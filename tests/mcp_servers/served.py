"""Starts the servers of this folder for tests, and ends by its pid what it started."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import JsonValue

from loops.environments.tools.mcp import McpTools
from loops.environments.tools.settings import McpServer
from loops.environments.tools.tool import Caller
from telemetry.events.values import EffectClass
from tests.aether import end_with_parent, wait_until

HERE = Path(__file__).parent
CALLER = Caller(session="session/test", person=None, effect="e" * 64)
Classes = Mapping[str, EffectClass]
NONE: Classes = {}

START_S = 120.0
"""Far more than a Python process needs to import the SDK on a busy machine."""


def bench(folder: Path, *, classes: Classes = NONE, timeout_s: float = 30) -> McpServer:
    """The bench server on stdio."""
    command = (sys.executable, str(HERE / "bench.py"), str(folder))
    return McpServer(name="bench", command=command, classes=dict(classes), timeout_s=timeout_s)


def spoken(says: Mapping[str, object], *, classes: Classes = NONE) -> McpServer:
    """The server that says what it is told to."""
    command = (sys.executable, str(HERE / "spoken.py"), json.dumps(says))
    return McpServer(name="spoken", command=command, classes=dict(classes))


def script(python: str) -> McpServer:
    """A server that is a line of Python."""
    return McpServer(name="script", command=(sys.executable, "-c", python))


@contextmanager
def over_http(
    folder: Path, port: int = 0, *, server: str = "bench.py"
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A server of this folder over streamable HTTP: its process and port."""
    told = folder / "port"
    told.unlink(missing_ok=True)
    command = (sys.executable, str(HERE / server), str(folder), str(port))
    process = subprocess.Popen(command, preexec_fn=end_with_parent)
    try:
        wait_until(lambda: told.exists() and bool(told.read_text()), timeout_s=START_S, what="the server listens")
        yield process, int(told.read_text())
    finally:
        process.kill()
        process.wait()


@contextmanager
def connected(server: McpServer) -> Iterator[McpTools]:
    tools = McpTools(server, start_s=START_S)
    try:
        yield tools
    finally:
        tools.close()


def call(tools: McpTools, name: str, **arguments: JsonValue) -> JsonValue:
    return next(tool for tool in tools.tools() if tool.spec.name == name).run(arguments, CALLER)


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
