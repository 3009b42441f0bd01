"""Tools as a session's world: typed functions, built-ins, and the tools of MCP servers.

What a module of tools imports: `tool` declares a function, the others mark its parameters and results; a probe raises
`ToolFailed` with the kind `not_done`."""

from loops.environments.tools.declare import tool
from loops.environments.tools.signature import Check, EffectKey, Person, Personal, Secret
from loops.errors import ToolFailed

__all__ = ["Check", "EffectKey", "Person", "Personal", "Secret", "ToolFailed", "tool"]
