"""A session's tools: how a call is checked, made within its time, and answered.

Knows tools and the vault; knows nothing of events, approvals and what comes after an answer. Invariant: whatever a tool
does, a call returns a bounded result or raises `ToolFailed`, and no value that was declared secret is in either."""

from __future__ import annotations

import contextvars
import difflib
import hashlib
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import JsonValue

from loops.effects import FREE
from loops.environments.tools.declare import collect, unique
from loops.environments.tools.sandbox import sandbox_tools
from loops.environments.tools.settings import ToolsSettings
from loops.environments.tools.tool import Caller, Tool, unfenced
from loops.environments.tools.vault import Vault, handle_of
from loops.environments.tools.workspace import workspace_tools
from loops.errors import ToolFailed
from loops.gateway import Passage
from loops.ports import Toolbox
from loops.spaces import Spaces, ToolActions
from telemetry.errors import InvalidEvent
from telemetry.events.values import Digest, ToolCall, canonical_json

if TYPE_CHECKING:
    from loops.environments.tools.mcp import McpTools

T = TypeVar("T")

MAX_RESULT_BYTES = 4 << 20
"""Most JSON of one result that is kept: a quarter of what one event may hold, since calls answer side by side."""

OVERSIZE_BEGINS = 2_000
"""Characters shown of a result that is not kept."""


ERROR_CHARACTERS = 10_000
"""Most of an error's words that is kept."""


class ToolsEnvironment:
    """The tools that a scenario names, for one session and the person it is with.

    Raises `ScenarioInvalid` for a module that cannot be imported, two tools of one name, or a sandbox that this machine
    cannot give."""

    def __init__(self, settings: ToolsSettings, *, session: str, person: str | None, vault: Vault) -> None:
        self._session = session
        self._person = person
        self._vault = vault
        self._servers: list[McpTools] = []
        try:
            self._tools = {tool.spec.name: tool for tool in unique(self._found(settings))}
        except BaseException:
            self.close()
            raise
        action = ToolActions(tools=tuple(tool.spec for tool in self._tools.values()))
        self._spaces = Spaces(observation=(), goal=None, action=action)

    def _found(self, settings: ToolsSettings) -> list[Tool]:
        tools = collect(settings.modules, vault=self._vault)
        folder = None if settings.workspace is None else Path(settings.workspace).expanduser()
        if folder is not None:
            tools += workspace_tools(folder, vault=self._vault)
        if settings.sandbox:
            tools += sandbox_tools(settings.sandbox, folder=folder, vault=self._vault)
        if settings.mcp:
            from loops.environments.tools.mcp import McpTools

            for server in settings.mcp:
                connected = McpTools(server)
                self._servers.append(connected)
                tools += connected.tools()
        return tools

    @property
    def spaces(self) -> Spaces:
        return self._spaces

    def call(self, call: ToolCall, *, effect: Digest, passage: Passage | None = None) -> JsonValue:
        """Makes the call; see `Toolbox`. After a time-out the tool's thread cannot be stopped: what it does still
        happens, its answer is dropped, and it does not keep the process from ending."""
        tool = self._tool(call)
        return self._answer(tool, call, tool.run, effect, None if tool.spec.effect_class in FREE else passage)

    def settle(self, call: ToolCall, *, effect: Digest, passage: Passage | None = None) -> JsonValue:
        """Asks the probe, or undoes; see `Toolbox`. Raises `ToolFailed` (lost) when it cannot be asked: the tool or a
        secret in its arguments is gone, or it has neither."""
        try:
            tool = self._tool(call)
            if tool.probe is not None:
                return self._answer(tool, call, tool.probe, effect, None)
            if tool.undo is None:
                raise ToolFailed("it has no probe and no undo", "invalid")
            self._answer(tool, call, tool.undo, effect, passage)
        except ToolFailed as failed:
            if failed.kind != "invalid":
                raise
            # "invalid" says that nothing was started; here only the question was not.
            raise ToolFailed(f"whether {call.tool} happened cannot be asked: {failed}", "lost") from None
        raise ToolFailed(f"{call.tool} was undone: its effect is not there", "not_done")

    def close(self) -> None:
        for server in self._servers:
            server.close()

    def _tool(self, call: ToolCall) -> Tool:
        if call.invalid is not None:
            raise ToolFailed(self._vault.scrub(call.invalid), "invalid")
        if call.tool in self._tools:
            return self._tools[call.tool]
        near = difflib.get_close_matches(call.tool, self._tools, n=1)
        there = f"did you mean {near[0]}?" if near else f"there are: {', '.join(self._tools) or 'none'}"
        raise ToolFailed(f"there is no tool {call.tool!r}; {there}", "invalid")

    def _answer(
        self,
        tool: Tool,
        call: ToolCall,
        run: Callable[[Mapping[str, JsonValue], Caller], T],
        effect: Digest,
        passage: Passage | None,
    ) -> JsonValue:
        # Hidden first, so that the vault knows every value it must keep out of the answer.
        arguments = self._revealed(tool, self._vault.hide_arguments(call, tool.spec).arguments)
        check = unfenced if passage is None else passage.check
        caller = Caller(session=self._session, person=self._person, effect=effect, check=check)

        def made() -> T:
            with passage or nullcontext():
                caller.check()
                return run(arguments, caller)

        try:
            result = _within(tool.spec.timeout_s, made)
            return _bounded(self._vault.scrub_json(result))  # type: ignore[arg-type]  # T is JsonValue or None
        except TimeoutError:
            ran = f"{call.tool} did not answer within {tool.spec.timeout_s:g} s; it may still happen"
            raise ToolFailed(ran, "timeout") from None
        except RecursionError:
            raise ToolFailed(f"{call.tool} ran, but its result is nested too deeply for any event") from None
        except ToolFailed as failed:
            raise ToolFailed(_recordable(self._vault.scrub(str(failed))), failed.kind) from None

    def _revealed(self, tool: Tool, arguments: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """Secrets go to arguments that are declared secret and to no other: a model that was talked into passing one
        on, say by mail, passes on a handle."""
        revealed: dict[str, JsonValue] = {}
        for name, value in arguments.items():
            if name in tool.spec.secret:
                try:
                    revealed[name] = self._vault.reveal(value)
                except ToolFailed as failed:
                    raise ToolFailed(f"{tool.spec.name}.{name}: {failed}", "invalid") from None
            elif isinstance(value, dict) and handle_of(value) is not None:
                why = "is not declared secret, so a secret cannot be passed to it"
                raise ToolFailed(f"{tool.spec.name}.{name} {why}", "invalid")
            else:
                revealed[name] = value
        return revealed


def make_toolbox(settings: ToolsSettings, *, session: str, person: str | None, vault: Vault) -> Toolbox:
    """The tools of a scenario. Raises `ScenarioInvalid` as `ToolsEnvironment` does."""
    return ToolsEnvironment(settings, session=session, person=person, vault=vault)


def _within(timeout_s: float, run: Callable[[], T]) -> T:
    """Runs in a thread of its own under the caller's context variables. Raises TimeoutError when it takes too long,
    `ToolFailed` for whatever else it raises."""
    answer: Future[T] = Future()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            answer.set_result(context.run(run))
        except BaseException as error:  # noqa: BLE001  a tool that exits must not leave its caller waiting
            answer.set_exception(_failure(error))

    threading.Thread(target=work, name="tool", daemon=True).start()
    return answer.result(timeout_s)


def _failure(error: BaseException) -> ToolFailed:
    if isinstance(error, ToolFailed):
        return error
    return ToolFailed(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


def _recordable(words: str) -> str:
    """The words of an error as an event can hold them: UTF-8, and not longer than anybody reads."""
    legible = words.encode("utf-8", "backslashreplace").decode()
    more = len(legible) - ERROR_CHARACTERS
    return legible if more <= 0 else f"{legible[:ERROR_CHARACTERS]}… [{more} more characters]"


def _bounded(result: JsonValue) -> JsonValue:
    """The result, or what can be said of one too large to keep. Raises `ToolFailed` for what no event can hold."""
    try:
        text = canonical_json(result)
    except InvalidEvent as error:
        raise ToolFailed(f"it ran, but {error}") from None
    body = text.encode()
    if len(body) <= MAX_RESULT_BYTES:
        return result
    digest = hashlib.sha256(body).hexdigest()
    return {"oversize_bytes": len(body), "sha256": digest, "begins": text[:OVERSIZE_BEGINS]}
