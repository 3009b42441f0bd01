"""What a scenario says of its tools: `[environment.tools]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from telemetry.events.values import EffectClass

Words = Annotated[str, Field(min_length=1)]


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class McpServer(_Closed):
    """One Model Context Protocol server whose tools the session may call, as `<name>_<tool>`."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Prefix of its tools' names."""
    command: tuple[Words, ...] = ()
    """Program and arguments of a server that speaks on stdio."""
    url: str | None = None
    """Address of a server that speaks streamable HTTP."""
    timeout_s: float = Field(default=30, gt=0)
    """Seconds a call may take."""
    traceparent: bool | None = None
    """Whether calls name the span that they belong to, in `_meta`; without a word only where the server is on this
    machine."""
    classes: dict[str, EffectClass] = {}
    """Effect class by the server's own tool name; the others are unsafe, whatever the server says of itself."""

    @model_validator(mode="after")
    def _one_transport(self) -> McpServer:
        if bool(self.command) == (self.url is not None):
            raise ValueError(f"the MCP server {self.name!r} needs a command or a url, and not both")
        return self


class ToolsSettings(_Closed):
    """Where the tools of a session come from."""

    modules: tuple[Words, ...] = ()
    """Importable modules, such as `examples.refund.shop`: every function in them that is declared a tool."""
    workspace: str | None = None
    """Folder that the workspace tools work in; they are there when it is named. Made when missing."""
    sandbox: tuple[Literal["python", "shell"], ...] = ()
    """Built-in tools that run code in a subprocess without network; they work in `workspace`."""
    mcp: tuple[McpServer, ...] = ()
    """Model Context Protocol servers."""
