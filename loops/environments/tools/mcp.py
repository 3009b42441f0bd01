"""Tools of Model Context Protocol servers, for threads that wait for their answers.

Knows one server and the thread its connection lives in; knows nothing of events, and believes no word that a server
says about how safe its tools are. Invariant: a call is sent at most once, and only to a server that offers the tools
the session was opened with."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import ExitStack

from anyio.from_thread import start_blocking_portal
from pydantic import JsonValue

from loops.environments.tools.mcp_link import Link
from loops.environments.tools.mcp_wire import START_S, difference, title
from loops.environments.tools.settings import McpServer
from loops.environments.tools.tool import Caller, Run, Tool
from loops.errors import EnvironmentFailed, ScenarioInvalid, ToolFailed
from loops.spaces import ToolSpec


class McpTools:
    """The tools of one server, named `<server>_<tool>`.

    Raises `ScenarioInvalid` for a command that cannot be run or a tool list that does not fit, `EnvironmentFailed` for
    a server that is not there, ends, or does not answer within `start_s`."""

    def __init__(self, server: McpServer, *, start_s: float = START_S) -> None:
        self._server = server
        self._start_s = start_s
        self._starting = threading.Lock()
        self._closed = False
        self._closed_why = f"the connection to {title(server)} is closed. The call was not sent"
        with ExitStack() as stack:
            self._portal = stack.enter_context(start_blocking_portal(name=f"mcp-{server.name}"))
            self._links = [self._connect()]
            self._thread = stack.pop_all()
        self._specs = self._links[-1].specs

    def tools(self) -> list[Tool]:
        return [Tool(spec=spec, run=self._run(name, spec)) for name, spec in self._specs.items()]

    def close(self) -> None:
        """Ends the connection and, on stdio, the server. A call still under way is lost."""
        with self._starting:
            if not self._closed:
                self._closed = True
                for link in self._links:
                    self._portal.call(link.end)
                self._thread.close()

    def _run(self, name: str, spec: ToolSpec) -> Run:
        def run(arguments: Mapping[str, JsonValue], caller: Caller) -> JsonValue:
            key = caller.effect if spec.effect_class == "keyed" else None
            link = self._usable()
            caller.check()  # its server may have been started anew meanwhile, which takes long
            try:
                return self._portal.call(link.ask, name, arguments, key)
            except RuntimeError:  # the portal's: it was closed just now; the call's own errors are `ToolFailed`
                raise ToolFailed(self._closed_why, "not_done") from None

        return run

    def _usable(self) -> Link:
        """The connection, made anew when it broke off. Raises `ToolFailed` when there is none: nothing was sent."""
        with self._starting:
            if self._closed:
                raise ToolFailed(self._closed_why, "not_done")
            if not self._portal.call(self._links[-1].stands):
                try:
                    link = self._connect()
                except (ScenarioInvalid, EnvironmentFailed) as error:
                    raise ToolFailed(f"{error} The call was not sent; the next one tries again.", "not_done") from error
                if link.specs != self._specs:
                    self._portal.call(link.end)
                    changed = difference(self._specs, link.specs)
                    why = f"{title(self._server)} was started anew and its tools are not the same: {changed}."
                    raise ToolFailed(f"{why} The call was not sent; open a new session to use them.", "not_done")
                # One that broke off may still have calls under way.
                self._links = [old for old in self._links if not old.gone] + [link]
            return self._links[-1]

    def _connect(self) -> Link:
        link = self._portal.call(Link, self._server)
        self._portal.start_task(link.hold, self._start_s)
        return link
