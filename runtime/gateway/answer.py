"""Reading an answer on the side while its bytes are passed on.

Knows server-sent events and how pieces become a message; changes nothing and raises nothing: what cannot be read is
an answer that is not whole. Invariant: how the bytes are cut into chunks makes no difference to what is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import orjson
from pydantic import ValidationError

from runtime.gateway.wire import Call, Choice, Chunk, Function, Message, Tokens
from telemetry.events.values import Usage

Kind = Literal["unreachable", "timeout", "rate_limited", "server_error", "refused", "cut", "invalid", "cancelled"]
"""Those of `reason.unanswered`."""

MAX_READ_BYTES = 64 * 1024 * 1024
"""Of an answer, or of one event of a stream: what is kept of it to be read. A longer one is passed on unread."""

MAX_ERROR_CHARACTERS = 2_000
"""Of an error's words; an endpoint's own are a sentence or two, a proxy's may be a page."""

ASKED = Usage(model_calls=1)
"""Where an endpoint does not say what an answer cost."""


@dataclass(frozen=True, slots=True)
class Said:
    """One choice of an answer, whole."""

    index: int
    message: Message
    finish: str
    logprobs: tuple[float, ...] | None
    tokens: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer, its choices by their index."""

    model: str
    choices: tuple[Said, ...]
    usage: Usage


@dataclass(frozen=True, slots=True)
class Nothing:
    """No whole answer, and why."""

    kind: Kind
    status: int | None
    error: str
    text: str = ""
    usage: Usage = ASKED


Ending = Reply | Nothing


@dataclass(slots=True)
class _Growing:
    """One choice as far as it came. Lists, because joining a text at every token is quadratic."""

    text: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: dict[int, _GrowingCall] = field(default_factory=dict)
    finish: str | None = None
    logprobs: list[float] | None = None
    tokens: list[int] | None = None

    def add(self, choice: Choice) -> None:
        piece = choice.message or choice.delta or Message()
        self.text.append((piece.plain or "") if not piece.refusal else "")
        self.refusal.append(piece.refusal or "")
        self.reasoning.append(piece.reasoning_content or "")
        for call in piece.calls:
            self._call(call, whole=choice.message is not None)
        self.finish = choice.finish_reason or self.finish
        if choice.logprobs is not None and choice.logprobs.content is not None:
            self.logprobs = self.logprobs or []
            self.logprobs.extend(token.logprob for token in choice.logprobs.content)
        if choice.token_ids is not None:
            self.tokens = self.tokens or []
            self.tokens.extend(choice.token_ids)

    def _call(self, piece: Call, *, whole: bool) -> None:
        """Adds a piece to its call: by index, or where an endpoint gives none, to the last unless it brings an id."""
        at = piece.index
        if at is None or whole:
            at = len(self.calls) if whole or piece.id or not self.calls else len(self.calls) - 1
        self.calls.setdefault(at, _GrowingCall()).add(piece)

    def said(self, index: int) -> Said:
        calls = tuple(call.whole() for call in self.calls.values())
        message = Message(
            role="assistant",
            content="".join(self.text),
            refusal="".join(self.refusal) or None,
            reasoning_content="".join(self.reasoning) or None,
            tool_calls=calls,
        )
        logprobs = None if self.logprobs is None else tuple(self.logprobs)
        tokens = None if self.tokens is None else tuple(self.tokens)
        return Said(index, message, self.finish or "", logprobs, tokens)


@dataclass(slots=True)
class _GrowingCall:
    id: str = ""
    name: str = ""
    arguments: list[str] = field(default_factory=list)

    def add(self, piece: Call) -> None:
        self.id = self.id or piece.id or ""
        self.name = self.name or piece.function.name or ""
        self.arguments.append(piece.function.text)

    def whole(self) -> Call:
        return Call(id=self.id, function=Function(name=self.name, arguments="".join(self.arguments)))


class AnswerReader:
    """Fed with the bytes of one answer of the endpoint as they come."""

    def __init__(self, status: int, *, streamed: bool, encoded: bool) -> None:
        self.whole = False
        """The endpoint said that nothing more comes."""
        self._status = status
        self._streamed = streamed and status < 300
        self._unreadable = "its body is compressed, though that was not asked for" if encoded else ""
        self._rest = bytearray()
        self._choices: dict[int, _Growing] = {}
        self._model = ""
        self._usage = ASKED
        self._error = ""
        self._kind: Kind = "invalid"

    def feed(self, piece: bytes) -> None:
        if self._unreadable or self.whole:
            return
        self._rest += piece
        if self._streamed and b"\n" in piece:
            self._events()
        if len(self._rest) > MAX_READ_BYTES:
            self._unreadable = f"it is above {MAX_READ_BYTES:,} bytes"
            self._rest.clear()

    def _events(self) -> None:
        """Takes every whole line. An event of this protocol is one `data:` line; other fields say nothing here."""
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            self._line(bytes(line))

    def _line(self, line: bytes) -> None:
        name, _, data = line.strip().partition(b":")
        if name != b"data":
            return
        if data.strip() == b"[DONE]":
            self.whole = True
        else:
            self._take(data)

    def _take(self, body: bytes) -> None:
        try:
            chunk = Chunk.model_validate_json(body)
        except ValidationError as error:
            self._error = self._error or f"it is not of the protocol: {error.errors(include_url=False)[0]['msg']}"
            return
        if chunk.error is not None:
            self._error, self._kind = error_in(body), "server_error"
        self._model = chunk.model or self._model
        if chunk.usage is not None:
            self._usage = _usage(chunk.usage)
        for choice in chunk.choices or ():
            self._choices.setdefault(choice.index, _Growing()).add(choice)

    def ending(self, cut: Nothing | None = None) -> Ending:
        """What the answer came to. `cut` says why no more came of it, where it did not end by itself."""
        if self._status >= 300:
            return Nothing(_kind_of(self._status), self._status, error_in(bytes(self._rest)) or f"HTTP {self._status}")
        if cut is None and self._rest and not self._unreadable:
            (self._line if self._streamed else self._take)(bytes(self._rest))
            self._rest.clear()
        if self._is_whole(cut):
            choices = tuple(self._choices[index].said(index) for index in sorted(self._choices))
            return Reply(self._model, choices, self._usage)
        text = "".join(self._choices[0].text) if 0 in self._choices else ""
        if cut is not None:
            return Nothing(cut.kind, self._status, cut.error, text, self._usage)
        why = self._unreadable or self._error
        if self._choices and not why:
            return Nothing("cut", self._status, "the stream ended before the answer did", text, self._usage)
        return Nothing(self._kind, self._status, why or "the answer holds no choice", text, self._usage)

    def _is_whole(self, cut: Nothing | None) -> bool:
        """By the endpoint's word, or where it forgets to give it, by every choice's own end."""
        if not self._choices or self._error or self._unreadable:
            return False
        finished = all(choice.finish is not None for choice in self._choices.values())
        return finished or self.whole or (cut is None and not self._streamed)


def _kind_of(status: int) -> Kind:
    if status == 429:
        return "rate_limited"
    return "server_error" if status >= 500 else "refused"


def _usage(tokens: Tokens) -> Usage:
    return Usage(model_calls=1, input_tokens=tokens.prompt_tokens or 0, output_tokens=tokens.completion_tokens or 0)


def error_in(body: bytes) -> str:
    """The words of an error: the protocol's message where there is one, else the body's beginning."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode(errors="replace")[:MAX_ERROR_CHARACTERS]
    error = found.get("error", found) if isinstance(found, dict) else found
    message = error.get("message") if isinstance(error, dict) else error
    words = message if isinstance(message, str) else body.decode()
    return words[:MAX_ERROR_CHARACTERS]
