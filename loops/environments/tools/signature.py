"""A typed function as its caller sees it: JSON in, JSON out, by its own type hints.

Knows signatures and data classes; knows nothing of tools, sessions and time-outs. Invariant: what a model sees of a
function is exactly its own parameters, and what it must not see (`EffectKey`, `Person`, `Check`) it cannot
pass."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import inspect
import math
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_type_hints

from pydantic import (
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    JsonValue,
    PydanticUserError,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    WrapSerializer,
)
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import CoreSchema

from loops.environments.tools.tool import Caller, Run
from loops.environments.tools.vault import Vault
from loops.errors import ToolFailed

Function: TypeAlias = Callable[..., object]


Injected: TypeAlias = Literal["effect", "person", "check"]


@dataclasses.dataclass(frozen=True, slots=True)
class _Injected:
    """Marks a parameter that the session fills in."""

    of: Injected


class Personal:
    """`Annotated[str, Personal]`: an argument or a field that says something about a person."""


class Secret:
    """`Annotated[str, Secret]`: an argument or a field of a result whose value never reaches an event."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return WrapSerializer(_hidden).__get_pydantic_core_schema__(source, handler)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return handler(schema) | {"writeOnly": True}


EffectKey = Annotated[str, _Injected("effect")]
"""A parameter of this type gets the effect's key, equal on every attempt; the model does not see it."""

Person = Annotated[str | None, _Injected("person")]
"""A parameter of this type gets who the session is with, None for nobody; the model does not see it."""


Check = Annotated[Callable[[], None], _Injected("check")]
"""A parameter of this type gets a function to call just before something is sent: it raises `ToolFailed` (fenced) when
another owner has taken the session over, or it is too late. The model does not see it."""


def _hidden(value: object, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> object:
    plain = handler(value)
    return info.context.hide(plain) if isinstance(info.context, Vault) else plain


class _PlainSchema(GenerateJsonSchema):
    """Without titles: they repeat the names, and every request pays for them."""

    def field_title_should_be_set(self, schema: object) -> bool:
        return False


class Signature:
    """A function with its arguments and its result as pydantic sees them."""

    def __init__(self, function: Function) -> None:
        self.name = getattr(function, "__name__", repr(function))
        self._function = function
        try:
            hints = get_type_hints(function, include_extras=True)
        except NameError as error:
            raise TypeError(f"the tool {self.name!r} names a type that is not defined before it: {error}") from error
        self.annotations: dict[str, object] = {}
        self._injected: dict[str, Injected] = {}
        fields: list[tuple[str, Any, Any]] = []
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise TypeError(f"the tool {self.name!r} takes {parameter}; every argument needs a name of its own")
            if name not in hints:
                raise TypeError(f"the parameter {name!r} of the tool {self.name!r} has no type")
            if injected := self._mark(name, hints[name]):
                self._injected[name] = injected
            else:
                self.annotations[name] = hints[name]
                fields.append((name, hints[name], _default(name, parameter)))
        arguments = dataclasses.make_dataclass(f"{self.name}_arguments", fields, kw_only=True)
        arguments.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[attr-defined]  # pydantic's own hook
        try:
            self._arguments: TypeAdapter[Any] = TypeAdapter(arguments)
            self._result: TypeAdapter[Any] = TypeAdapter(hints.get("return", Any))
            self.schema: dict[str, Any] = self._arguments.json_schema(schema_generator=_PlainSchema)
        except PydanticUserError as error:
            raise TypeError(f"the types of the tool {self.name!r} have no JSON Schema: {error}") from error
        for noise in ("title", "description"):
            self.schema.pop(noise, None)

    def _mark(self, name: str, annotation: object) -> Injected | None:
        outer = [mark for mark in getattr(annotation, "__metadata__", ()) if isinstance(mark, _Injected)]
        if not outer and any(isinstance(mark, _Injected) for mark in marks(annotation)):
            what = f"the parameter {name!r} of the tool {self.name!r}"
            raise TypeError(f"{what} is EffectKey, Person or Check, or it is not")
        return outer[0].of if outer else None

    @property
    def secret(self) -> tuple[str, ...]:
        """Parameters that are secret or hold something secret."""
        properties = self.schema.get("properties", {})
        return tuple(name for name in self.annotations if _write_only(self.schema, properties[name]))

    @property
    def personal(self) -> tuple[str, ...]:
        """Parameters that say something about a person."""
        return tuple(name for name, annotation in self.annotations.items() if Personal in marks(annotation))

    @property
    def takes_key(self) -> bool:
        return "effect" in self._injected.values()

    def bind(self, vault: Vault) -> Run:
        def run(arguments: Mapping[str, JsonValue], caller: Caller) -> JsonValue:
            values = self._validated(arguments)
            for name, what in self._injected.items():
                values[name] = getattr(caller, what)
            result = self._function(**values)
            return self._recorded(asyncio.run(result) if inspect.iscoroutine(result) else result, vault)

        return run

    def _validated(self, arguments: Mapping[str, JsonValue]) -> dict[str, object]:
        try:
            checked = self._arguments.validate_python(dict(arguments))
        except ValidationError as error:
            # What was given stays out of the words: it may be secret.
            problems = error.errors(include_input=False, include_url=False, include_context=False)
            words = "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems)
            raise ToolFailed(f"{self.name} does not take these arguments: {words}", "invalid") from None
        return {name: getattr(checked, name) for name in self.annotations}

    def _recorded(self, result: object, vault: Vault) -> JsonValue:
        try:
            # Written as JSON, NaN or an infinity inside an `Any` silently becomes null: so the values are asked first.
            finite = _finite(self._result.dump_python(result, warnings="error"))
            recorded = (
                self._result.dump_python(result, mode="json", context=vault, warnings="error") if finite else None
            )
        except (ValueError, RecursionError):
            # Pydantic's own words quote the value, which may be secret.
            what = f"its result, a {type(result).__name__}, is not what it declares or is no JSON"
            raise ToolFailed(f"{self.name} ran, but {what}") from None
        if not finite or not _finite(recorded):
            raise ToolFailed(f"{self.name} ran, but its result holds NaN or an infinity, which no event can")
        return recorded


def _default(name: str, parameter: inspect.Parameter) -> Any:  # noqa: ANN401  typed as the field it stands for
    default = parameter.default
    if default is parameter.empty:
        return dataclasses.field()
    if isinstance(default, FieldInfo):
        raise TypeError(f"{parameter}: write {name}: Annotated[..., Field(...)], so that a plain call works too")
    if isinstance(default, Hashable):
        return dataclasses.field(default=default)
    return dataclasses.field(default_factory=lambda: copy.deepcopy(default))


def marks(annotation: object) -> Iterator[object]:
    """What `Annotated` says anywhere in a type."""
    yield from getattr(annotation, "__metadata__", ())
    for part in get_args(annotation):
        yield from marks(part)


def _finite(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(map(_finite, value.values()))
    return not isinstance(value, list | tuple | set | frozenset) or all(map(_finite, value))


def _write_only(schema: Mapping[str, Any], part: object, seen: frozenset[str] = frozenset()) -> bool:
    """Whether JSON Schema says of a part, or of anything inside it, that it is only written: so pydantic describes
    secrets, `SecretStr` too."""
    if isinstance(part, list):
        return any(_write_only(schema, inner, seen) for inner in part)
    if not isinstance(part, Mapping):
        return False
    if part.get("writeOnly") is True:
        return True
    reference = part.get("$ref")
    if isinstance(reference, str) and reference not in seen:
        target = schema["$defs"][reference.removeprefix("#/$defs/")]
        return _write_only(schema, target, seen | {reference})
    return any(_write_only(schema, inner, seen) for inner in part.values())
