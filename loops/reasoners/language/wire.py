"""What is read of an endpoint's answer: whole, or put together from a stream's chunks.

Knows the fields of OpenAI's chat completions that are used here, and vLLM's token ids; knows no connection.
Invariant: a whole answer and its stream give the same reply."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from loops.reasoners.language.calls import Written

MOST_CHARACTERS = 4 * 1024 * 1024
"""Of one reply. An event takes 16 MiB of JSON, in which a character is rarely more than two bytes; the longest answer
that a model gives today is 128,000 tokens, half a megabyte."""


class TooLong(Exception):
    """The reply passed MOST_CHARACTERS."""


class _Read(BaseModel):
    # Endpoints add fields of their own.
    model_config = ConfigDict(extra="ignore")


class _Function(_Read):
    name: str | None = None
    arguments: str | None = None


class _Call(_Read):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Part(_Read):
    text: str = ""


class _Said(_Read):
    """A message, or what a chunk adds to one."""

    content: str | list[_Part] | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(part.text for part in self.content)
        return self.content or self.refusal or ""


class _Logprob(_Read):
    token: str
    logprob: float


class _Logprobs(_Read):
    content: list[_Logprob] | None = None


class _Choice(_Read):
    index: int = 0
    message: _Said | None = None
    delta: _Said | None = None
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None
    token_ids: list[int] | None = None


class _Cached(_Read):
    cached_tokens: int | None = None


class _Usage(_Read):
    prompt_tokens: int = Field(default=0, ge=0)
    completion_tokens: int = Field(default=0, ge=0)
    prompt_tokens_details: _Cached | None = None


class _Body(_Read):
    """A completion, or a chunk of one."""

    model: str | None = None
    choices: list[_Choice] | None = None
    usage: _Usage | None = None


class Choice(NamedTuple):
    """One of the answers to a request."""

    text: str
    calls: tuple[Written, ...]
    finish: str | None
    """None when it did not end."""
    tokens: tuple[int, ...] | None
    logprobs: tuple[float, ...] | None


class Reply(NamedTuple):
    """Everything that came."""

    model: str
    choices: tuple[Choice, ...]
    input_tokens: int
    cached_tokens: int
    output_tokens: int

    @property
    def whole(self) -> bool:
        return bool(self.choices) and all(choice.finish for choice in self.choices)

    @property
    def text(self) -> str:
        """Of its first answer."""
        return self.choices[0].text if self.choices else ""


@dataclass
class _Making:
    """A choice while its chunks come in."""

    text: list[str] = field(default_factory=list)
    calls: dict[int, list[str]] = field(default_factory=dict)
    """Id, name and arguments by place."""
    finish: str | None = None
    logprobs: list[_Logprob] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)

    def add(self, call: _Call, *, whole: bool) -> int:
        """Adds a call or a chunk's piece of one; returns by how many characters it grew."""
        function = call.function or _Function()
        last = max(self.calls, default=-1)
        place = last if call.index is None else call.index
        known = self.calls.get(place)
        # Some endpoints number all calls 0, others none: then another id, or else another name, is another call.
        other_id = known is not None and call.id and known[0] not in ("", call.id)
        other_name = known is not None and call.index is None and not call.id and function.name
        if whole or place < 0 or other_id or other_name:
            place = last + 1
        known = self.calls.setdefault(place, ["", "", ""])
        known[0] = call.id or known[0]
        known[1] = function.name or known[1]
        known[2] += function.arguments or ""
        return len(function.arguments or "")

    def made(self) -> Choice:
        tokens = tuple(self.tokens) or _ids(self.logprobs)
        finite = all(math.isfinite(one.logprob) for one in self.logprobs)
        return Choice(
            text=_clean("".join(self.text)),
            calls=tuple(Written(*map(_clean, call)) for _, call in sorted(self.calls.items())),
            finish=self.finish,
            tokens=tokens,
            logprobs=tuple(one.logprob for one in self.logprobs) if self.logprobs and finite else None,
        )


class Assembly:
    """Puts a reply together. `heard` gets the text of the first answer as it comes."""

    def __init__(self, heard: Callable[[str], None]) -> None:
        self._heard = heard
        self._model = ""
        self._choices: dict[int, _Making] = {}
        self._usage = _Usage()
        self._length = 0

    def take(self, body: object) -> None:
        """Adds a chunk or a whole answer. Raises pydantic's `ValidationError` for what is neither, and `TooLong`."""
        read = _Body.model_validate(body)
        self._model = read.model or self._model
        self._usage = read.usage or self._usage
        for choice in read.choices or ():
            self._add(choice)
        if self._length > MOST_CHARACTERS:
            raise TooLong(f"the answer is longer than {MOST_CHARACTERS:,} characters")

    def _add(self, choice: _Choice) -> None:
        making = self._choices.setdefault(choice.index, _Making())
        said = choice.message or choice.delta or _Said()
        if said.text:
            making.text.append(said.text)
            self._length += len(said.text)
            if choice.index == 0:
                self._heard(said.text)
        self._length += sum(making.add(call, whole=choice.message is not None) for call in said.tool_calls or ())
        making.finish = choice.finish_reason or making.finish
        if choice.logprobs is not None:
            making.logprobs += choice.logprobs.content or ()
        making.tokens += choice.token_ids or ()

    def reply(self) -> Reply:
        """What came so far."""
        cached = self._usage.prompt_tokens_details
        return Reply(
            model=_clean(self._model),
            choices=tuple(making.made() for _, making in sorted(self._choices.items())),
            input_tokens=self._usage.prompt_tokens,
            cached_tokens=min(cached.cached_tokens or 0, self._usage.prompt_tokens) if cached is not None else 0,
            output_tokens=self._usage.completion_tokens,
        )


_TOKEN_ID = re.compile(r"token_id:(\d{1,18})")


def _ids(logprobs: list[_Logprob]) -> tuple[int, ...] | None:
    """Token ids as vLLM writes them in place of the tokens when it is asked for them; None where they are text."""
    ids = [_TOKEN_ID.fullmatch(one.token) for one in logprobs]
    return tuple(int(found[1]) for found in ids if found) if ids and all(ids) else None


def _clean(text: str) -> str:
    """The text with surrogate pairs that came in two chunks joined; lone ones, which UTF-8 cannot hold, replaced."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
