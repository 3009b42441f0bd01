"""How a Python function becomes a tool: `@tool` on a typed function with a docstring.

Knows what each effect class needs; knows nothing of sessions and time-outs. Invariant: a tool that was declared can be
settled after a crash as its class says."""

from __future__ import annotations

import importlib
import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TypeVar, overload

from pydantic import JsonValue

from loops.environments.tools.signature import Function, Signature
from loops.environments.tools.tool import Caller, Tool
from loops.environments.tools.vault import Vault
from loops.errors import ScenarioInvalid
from loops.spaces import ToolSpec
from telemetry.events.values import EffectClass

FunctionT = TypeVar("FunctionT", bound=Function)

NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,63}")
"""Names that every OpenAI-compatible endpoint takes."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """A function that was declared a tool, not yet bound to the vault of a process."""

    spec: ToolSpec
    run: Signature
    probe: Signature | None
    undo: Signature | None

    def bind(self, vault: Vault) -> Tool:
        probe = None if self.probe is None else self.probe.bind(vault)
        undo = None if self.undo is None else self.undo.bind(vault)

        def undone(arguments: Mapping[str, JsonValue], caller: Caller) -> None:
            if undo is not None:
                undo(arguments, caller)

        return Tool(self.spec, self.run.bind(vault), probe, undo and undone)


def declare(
    function: Function,
    *,
    effect: EffectClass = "unsafe",
    timeout_s: float = 30,
    probe: Function | None = None,
    undo: Function | None = None,
) -> Declaration:
    """What `tool` keeps on a function. Raises `TypeError` for one that cannot be a tool as it stands."""
    run = Signature(function)
    if not NAME.fullmatch(run.name):
        raise TypeError(f"{run.name!r} is no name for a tool: at most 64 ASCII letters, digits and _")
    description = inspect.getdoc(function)
    if not description:
        raise TypeError(f"the tool {run.name!r} has no docstring; it is how a model knows what the tool does")
    if not 0 < timeout_s < math.inf:
        raise TypeError(f"the tool {run.name!r} needs a time-out above 0, not {timeout_s}")
    if effect == "replayable":
        raise TypeError(f"the tool {run.name!r} cannot be replayable: that is a class of seeded simulators")
    if effect == "keyed" and not run.takes_key:
        raise TypeError(f"the keyed tool {run.name!r} needs a parameter of type EffectKey to hand on to its target")
    helpers = {"probe": _helper(run, "probe", probe), "undo": _helper(run, "undo", undo)}
    for effect_class, helper in (("probeable", "probe"), ("compensable", "undo")):
        if (effect == effect_class) != (helpers[helper] is not None):
            raise TypeError(f"the tool {run.name!r} is {effect}; {effect_class} and {helper}= go together")
    spec = ToolSpec(
        name=run.name,
        description=description,
        parameters=run.schema,
        effect_class=effect,
        timeout_s=timeout_s,
        secret=run.secret,
        personal=run.personal,
    )
    return Declaration(spec, run, helpers["probe"], helpers["undo"])


def _helper(run: Signature, role: str, function: Function | None) -> Signature | None:
    if function is None:
        return None
    helper = Signature(function)
    if helper.annotations.keys() != run.annotations.keys():
        raise TypeError(f"the {role} of the tool {run.name!r} needs its parameters: {', '.join(run.annotations)}")
    return helper


_ATTRIBUTE = "__aether_tool__"


@overload
def tool(function: FunctionT, /) -> FunctionT: ...


@overload
def tool(
    *, effect: EffectClass = ..., timeout_s: float = ..., probe: Function | None = ..., undo: Function | None = ...
) -> Callable[[FunctionT], FunctionT]: ...


def tool(
    function: Function | None = None,
    /,
    *,
    effect: EffectClass = "unsafe",
    timeout_s: float = 30,
    probe: Function | None = None,
    undo: Function | None = None,
) -> object:
    """Declares a function a tool; it stays callable as it was.

    `effect` says how a call is settled that may or may not have happened: pure and read run again, keyed is sent again
    with the same `EffectKey`, probeable asks `probe`, compensable calls `undo`, unsafe stays unknown. `probe` and
    `undo` have the tool's parameters; `probe` returns the result if it happened or raises `ToolFailed` (not_done).
    Raises `TypeError` for a function without types or docstring, and for a class without what it needs."""

    def mark(function: FunctionT) -> FunctionT:
        declaration = declare(function, effect=effect, timeout_s=timeout_s, probe=probe, undo=undo)
        setattr(function, _ATTRIBUTE, declaration)
        return function

    return mark if function is None else mark(function)


def declared(module: ModuleType, *, vault: Vault) -> list[Tool]:
    """The tools in a module, in the order it names them."""
    return [declaration.bind(vault) for declaration in _declarations([module])]


def collect(modules: Iterable[str], *, vault: Vault) -> list[Tool]:
    """The tools of importable modules. Raises `ScenarioInvalid` for a module that cannot be imported or holds none,
    and for two tools of one name."""
    imported = [_imported(name) for name in modules]
    for module in imported:
        if not _declarations([module]):
            raise ScenarioInvalid(f"the module {module.__name__!r} declares no tool; put @tool on its functions")
    return unique(declaration.bind(vault) for declaration in _declarations(imported))


def unique(tools: Iterable[Tool]) -> list[Tool]:
    """The tools. Raises `ScenarioInvalid` for two of one name."""
    by_name: dict[str, Tool] = {}
    for one in tools:
        if one.spec.name in by_name:
            raise ScenarioInvalid(f"two tools are named {one.spec.name!r}; rename one or leave one out")
        by_name[one.spec.name] = one
    return list(by_name.values())


def _declarations(modules: Iterable[ModuleType]) -> list[Declaration]:
    """Each once, however many names or modules it has."""
    found = [getattr(value, _ATTRIBUTE, None) for module in modules for value in vars(module).values()]
    return list({id(one): one for one in found if isinstance(one, Declaration)}.values())


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise ScenarioInvalid(
            f"the tools module {name!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error
