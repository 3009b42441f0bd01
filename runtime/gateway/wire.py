"""The chat-completions protocol as far as it is recorded: requests, answers whole or in chunks, and messages.

Knows names of fields and forgives what endpoints leave out; knows no event and no socket. Invariant: equal
conversations have equal prefix digests, however a framework writes the same message again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

Json = dict[str, JsonValue]


class Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Function(Wire):
    name: str | None = None
    arguments: JsonValue = None
    """A string of JSON, of which a chunk holds a piece; some endpoints send an object."""

    @property
    def text(self) -> str:
        if self.arguments is None or isinstance(self.arguments, str):
            return self.arguments or ""
        return orjson.dumps(self.arguments).decode()


class Call(Wire):
    index: int | None = None
    id: str | None = None
    function: Function = Function()


class Message(Wire):
    """A message of a request, the message of an answer, or the piece of one that a chunk brings."""

    role: str | None = None
    content: JsonValue = None
    name: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: tuple[Call, ...] | None = None
    tool_call_id: str | None = None

    @property
    def calls(self) -> tuple[Call, ...]:
        return self.tool_calls or ()

    @cached_property
    def plain(self) -> str | None:
        """Its content as one text; None where a part of it is no text."""
        if self.content is None or isinstance(self.content, str):
            return self.content or self.refusal or ""
        if not isinstance(self.content, list):
            return None
        texts = [_text_of(part) for part in self.content]
        return None if None in texts else "".join(text for text in texts if text is not None)

    def canonical(self) -> bytes:
        """What makes two messages the same: role, content, calls (id, name, arguments) and the call answered."""
        calls = [[c.id or "", c.function.name or "", normal_arguments(c.function.text)] for c in self.calls]
        content = self.content if self.plain is None else self.plain
        return orjson.dumps([self.role, content, calls, self.tool_call_id or ""], option=orjson.OPT_SORT_KEYS)


def _text_of(part: JsonValue) -> str | None:
    if isinstance(part, dict) and part.get("type") in ("text", "input_text", "output_text"):
        text = part.get("text")
        return text if isinstance(text, str) else None
    return part if isinstance(part, str) else None


def normal_arguments(text: str) -> str:
    """Arguments with sorted keys and no spaces; as they are where they are no JSON, `{}` for none."""
    try:
        return orjson.dumps(orjson.loads(text or "{}"), option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONDecodeError:
        return text


class Request(Wire):
    """The body of a request. `raw` is all of it."""

    model: str = ""
    messages: tuple[Message, ...]
    tools: tuple[JsonValue, ...] = ()
    seed: int | None = None
    raw: Json = Field(exclude=True)

    @field_validator("tools", mode="before")
    @classmethod
    def _none_is_no_tools(cls, value: object) -> object:
        return value or ()

    @cached_property
    def prefixes(self) -> tuple[bytes, ...]:
        """Of each message, the digest of it and all before it."""
        return onward(b"", self.messages)

    @property
    def parameters(self) -> Json:
        """Everything that was asked for beside the conversation."""
        told = {"messages", "tools", "functions", "model", "seed"}
        return {name: value for name, value in self.raw.items() if name not in told}

    @property
    def prompt(self) -> str:
        """SHA-256 of the canonical JSON of messages and tools."""
        asked = {name: self.raw.get(name) for name in ("messages", "tools") if name in self.raw}
        return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()


def onward(before: bytes, messages: Sequence[Message]) -> tuple[bytes, ...]:
    """The prefix digests of `messages` after a conversation whose last prefix digest is `before`."""
    digests = []
    for message in messages:
        before = hashlib.sha256(before + message.canonical()).digest()
        digests.append(before)
    return tuple(digests)


def read_request(body: bytes) -> Request:
    """Raises ValueError for a body that is no request of the protocol."""
    try:
        raw = orjson.loads(body)
        if not isinstance(raw, dict):
            raise ValueError("the body is no JSON object")
        return Request.model_validate({**raw, "raw": raw})
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        why = f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}"
        raise ValueError(f"a request is not of the protocol: {why}") from error
    except ValueError as error:
        raise ValueError(f"a request is not of the protocol: {error}") from error


class Token(Wire):
    logprob: float


class Logprobs(Wire):
    content: tuple[Token, ...] | None = None


class Choice(Wire):
    index: int = 0
    message: Message | None = None
    delta: Message | None = None
    finish_reason: str | None = None
    logprobs: Logprobs | None = None
    token_ids: tuple[int, ...] | None = None


class Tokens(Wire):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Chunk(Wire):
    """A piece of an answer; an answer that is not streamed is one chunk."""

    model: str | None = None
    choices: tuple[Choice, ...] | None = None
    usage: Tokens | None = None
    error: JsonValue = None
