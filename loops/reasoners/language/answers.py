"""What came of a request, as events: the answers, or why there is none.

Knows replies, prices and redaction; asks nobody. Invariants: no event is built before known secrets and the arguments
that tools declare secret were replaced; what a request cost stands once, in its first event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from loops.reasoners.language import tags
from loops.reasoners.language.calls import calls_of
from loops.reasoners.language.failures import Failure
from loops.reasoners.language.settings import Price
from loops.reasoners.language.wire import Choice, Reply
from loops.spaces import ToolActions
from telemetry.events import reason
from telemetry.events.values import ToolCall, Usage

FINISH_CHARACTERS = 80
"""The most of an endpoint's word for why an answer ended; those in use have fewer than twenty."""


class Redact(Protocol):
    """Replaces secrets by handles."""

    def calls(self, calls: tuple[ToolCall, ...], tools: ToolActions) -> tuple[ToolCall, ...]:
        """The calls with their secret arguments replaced; the values are known from then on."""
        ...

    def text(self, text: str) -> str:
        """The text with every known secret replaced."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of this cycle, and how its answers are read."""

    requested: reason.Requested
    cycle: int
    n: int
    native_tools: bool
    tools: ToolActions
    attempts: int


@dataclass(frozen=True, slots=True)
class Scribe:
    """Writes what came of requests."""

    redact: Redact
    prices: Mapping[str, Price]

    def answered(self, asked: Asked, reply: Reply, taken: set[str]) -> list[reason.Answered]:
        """One event for each of at most `n` answers. Call ids are none of `taken` and are added to it."""
        written = [self._answer(asked, reply, place, choice, taken) for place, choice in enumerate(reply.choices)]
        return written[: asked.n]

    def unanswered(self, asked: Asked, failure: Failure, error: str) -> reason.Unanswered:
        """What was sent and heard before it failed stands in it without secrets, and without what may be a call."""
        reply, requested = failure.reply, asked.requested
        text = "" if reply is None else reply.text
        if not asked.native_tools:
            text, _ = tags.shown(text)
        return reason.Unanswered(
            call=requested.call,
            endpoint=requested.endpoint,
            model=requested.model,
            kind=failure.kind,
            status=failure.status,
            attempts=asked.attempts,
            error=self.redact.text(error),
            text=self.redact.text(text),
            usage=self._usage(asked, reply),
        )

    def _answer(self, asked: Asked, reply: Reply, place: int, choice: Choice, taken: set[str]) -> reason.Answered:
        words, written = (choice.text, ()) if asked.native_tools else tags.parse(choice.text, asked.tools)
        where = f"{asked.cycle}/{asked.requested.call}/{place}"
        made = calls_of((*choice.calls, *written), asked.tools, place=where, taken=taken)
        calls = self.redact.calls(made, asked.tools)
        text = self.redact.text(words) if words.strip() else ""
        # Token ids spell out what was replaced.
        spelled = choice.tokens if (calls, text) == (made, words) else None
        return reason.Answered(
            call=asked.requested.call,
            choice=place,
            model=reply.model or asked.requested.model,
            text=text,
            calls=calls,
            finish=str(choice.finish)[:FINISH_CHARACTERS],
            usage=self._usage(asked, reply) if place == 0 else Usage(),
            tokens=spelled,
            logprobs=choice.logprobs,
        )

    def _usage(self, asked: Asked, reply: Reply | None) -> Usage:
        """Every attempt counts as a call of the model; what came of earlier ones is known to nobody."""
        if reply is None:
            return Usage(model_calls=asked.attempts)
        price = self.prices.get(reply.model) or self.prices.get(asked.requested.model)
        cost = (
            0.0
            if price is None
            else price.of(
                input_tokens=reply.input_tokens, cached_tokens=reply.cached_tokens, output_tokens=reply.output_tokens
            )
        )
        return Usage(
            model_calls=asked.attempts,
            input_tokens=reply.input_tokens,
            output_tokens=reply.output_tokens,
            cost_usd=cost,
        )
