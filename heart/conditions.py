"""What a rule asks of a tool call's arguments: `where = { amount = { above = 100 } }`.

Knows JSON values and one person's name; knows nothing of tools or verdicts. Invariant: a condition that cannot be
judged holds, so a rule that cannot be checked binds: an argument left out, of another type than the condition
compares (a number as text, a list, a secret's handle), or a person nobody named."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Final, TypeGuard

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    field_validator,
    model_validator,
)
from pydantic_core import SchemaError, SchemaValidator, core_schema

PERSON: Final = "@person"
"""In a condition: the person whom the session serves. In an argument it is a text like any other."""

SECRET: Final = "secret"
"""The one key of the object that stands for a secret value."""

MAX_PATTERN: Final = 1000
"""Characters of a pattern. The engine is linear in the text, and its cost a character grows with the pattern."""

Number = Annotated[float, Field(strict=True)]
Scalar = StrictStr | StrictBool | StrictInt | StrictFloat


class Condition(BaseModel):
    """What must hold of one argument, all of it. Texts are compared exactly, but for `contains`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    is_: Scalar | None = Field(default=None, alias="is", description="Equal to this.")
    is_not: Scalar | None = None
    """Anything but this."""
    above: Number | None = None
    """A number strictly above."""
    below: Number | None = None
    """A number strictly below."""
    contains: Annotated[str, Field(min_length=1)] | None = None
    """A text with this in it, upper and lower case alike."""
    one_of: Annotated[tuple[Scalar, ...], Field(min_length=1)] | None = None
    """Equal to one of these."""
    matches: Annotated[str, Field(min_length=1, max_length=MAX_PATTERN)] | None = None
    """A text that the regular expression matches as a whole, in the syntax of Rust's `regex`: it takes linear time
    whatever the text, so it has no look-around and no back-references."""

    @field_validator("matches")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                _compiled(pattern)  # alone, so that it cannot close the group that it is put in
                _whole(pattern)
            except SchemaError as error:
                raise ValueError(f"{pattern!r} is no regular expression of linear time: {error}") from error
        return pattern

    @model_validator(mode="after")
    def _could_hold(self) -> Condition:
        if not self.model_fields_set:
            raise ValueError("a condition needs at least one of is, is_not, above, below, contains, one_of, matches")
        if self.above is not None and self.below is not None and self.above >= self.below:
            raise ValueError(f"nothing is above {self.above:g} and below {self.below:g}")
        return self

    def holds(self, argument: JsonValue, *, person: str | None) -> bool:
        """Whether all of it holds of `argument`, None for one left out; what cannot be judged holds."""
        return all(found is not False for found in self._judged(argument, person))

    def _judged(self, argument: JsonValue, person: str | None) -> Iterator[bool | None]:
        """What each part that is asked says; None where it cannot be judged."""
        if self.is_ is not None:
            yield _equal(argument, self.is_, person)
        if self.is_not is not None:
            same = _equal(argument, self.is_not, person)
            yield None if same is None else not same
        if self.one_of is not None:
            yield _any([_equal(argument, one, person) for one in self.one_of])
        if _is_number(argument):
            yield self.above is None or argument > self.above
            yield self.below is None or argument < self.below
        if isinstance(argument, str):
            yield self.contains is None or self.contains.casefold() in argument.casefold()
            yield self.matches is None or _whole(self.matches).isinstance_python(argument)


def hold(where: Mapping[str, Condition], arguments: Mapping[str, JsonValue], *, person: str | None) -> bool:
    """Whether every condition holds of the argument it names; `address.city` is `city` inside `address`."""
    return all(condition.holds(_at(arguments, name), person=person) for name, condition in where.items())


def _at(arguments: Mapping[str, JsonValue], name: str) -> JsonValue:
    """The argument of that dotted name, None for one that is not there; nothing is inside a secret."""
    *outer, last = name.split(".")
    inside: Mapping[str, JsonValue] = arguments
    for part in outer:
        found = inside.get(part)
        if not isinstance(found, dict) or found.keys() == {SECRET}:
            return None
        inside = found
    return inside.get(last)


def _equal(argument: JsonValue, wanted: Scalar, person: str | None) -> bool | None:
    """Whether they are equal; None where their types cannot be, or the person is not known."""
    value = person if wanted == PERSON else wanted
    if isinstance(argument, str) and isinstance(value, str):
        return argument == value
    if isinstance(argument, bool) and isinstance(value, bool):
        return argument == value
    if _is_number(argument) and _is_number(value):
        return argument == value
    return None


def _any(found: Sequence[bool | None]) -> bool | None:
    return True if True in found else None if None in found else False


def _is_number(value: object) -> TypeGuard[int | float]:
    """Whether it is a number that can be compared: neither a truth value nor NaN or an infinity."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _whole(pattern: str) -> SchemaValidator:
    return _compiled(rf"\A(?:{pattern})\z")


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> SchemaValidator:
    """Pydantic's own matcher: Python's `re` would take exponential time on a text that a model could write."""
    return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex", strict=True))
