"""A server with a tool for each thing that a tool can do: `bench.py FOLDER [PORT]`, on stdio or on that loopback port.

It tells the test what it lives through by files in FOLDER: its port once it listens, its pid while a call hangs, a line
for each call that waits. With `other-tools` in FOLDER it offers other tools than before."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import anyio
import mcp_types
import uvicorn
from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel

FOLDER = Path(sys.argv[1])
PICTURE = b"\x89PNG not much of a picture"

OTHER = (FOLDER / "other-tools").exists()
ADDS = "Subtracts." if OTHER else "Adds two numbers."

server = MCPServer("bench")
met = anyio.Event()


class Sum(BaseModel):
    total: int


@server.tool(description=ADDS, annotations=mcp_types.ToolAnnotations(read_only_hint=True, idempotent_hint=True))
def add(a: int, b: int) -> Sum:
    return Sum(total=a + b)


@server.tool(structured_output=False)
def say(words: str) -> str:
    """Says it."""
    return words


@server.tool(structured_output=False)
def much(length: int) -> str:
    """A result of that length."""
    return "x" * length


@server.tool(structured_output=False)
def fail(why: str) -> str:
    """Fails."""
    raise ToolError(why)


@server.tool(structured_output=False)
def pictured() -> list[str | Image]:
    """Text and a picture."""
    return ["look", Image(data=PICTURE, format="png")]


@server.tool()
def environment() -> dict[str, str]:
    """The variables that the server was started with."""
    return dict(os.environ)


@server.tool()
def pid() -> int:
    """The server's process."""
    return os.getpid()


@server.tool()
def effect(context: Context) -> str:
    """The key that came with the call."""
    return str((context.request_context.meta or {}).get("aetherloop/effect", "none"))


@server.tool(structured_output=False)
def traceparent(context: Context) -> str:
    """The span that came with the call."""
    return str((context.request_context.meta or {}).get("traceparent", "none"))


@server.tool(structured_output=False)
async def wait() -> str:
    """Answers when somebody calls `meet`."""
    with (FOLDER / "waits").open("a") as told:
        told.write("one more\n")
    await met.wait()
    return "met"


@server.tool(structured_output=False)
def meet() -> str:
    """Lets `wait` answer."""
    anyio.from_thread.run_sync(met.set)
    return "here"


@server.tool(structured_output=False)
async def hang() -> str:
    """Never answers."""
    (FOLDER / "pid").write_text(str(os.getpid()))
    try:
        await anyio.sleep_forever()
    finally:
        (FOLDER / "stopped").touch()
    raise AssertionError


@server.tool(structured_output=False)
def die(words: str) -> str:
    """Ends the server."""
    os.write(2, words.encode())
    os._exit(3)


if OTHER:

    @server.tool()
    def extra() -> int:
        """One more."""
        return 1


async def serve(port: int) -> None:
    listening = socket.create_server(("127.0.0.1", port))
    (FOLDER / "port").write_text(str(listening.getsockname()[1]))
    config = uvicorn.Config(server.streamable_http_app(), log_level="error")
    await uvicorn.Server(config).serve(sockets=[listening])


if __name__ == "__main__":
    if len(sys.argv) > 2:
        anyio.run(serve, int(sys.argv[2]))
    else:
        server.run()
