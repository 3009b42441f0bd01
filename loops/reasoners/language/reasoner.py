"""The reasoner that asks language models: prompts from the session, answers as proposals.

Knows settings, prompts and endpoints; decides nothing and calls no tool. Invariants: what a request's event says is
what is sent, digest and all; and nothing enters an event before secrets in it were replaced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from pydantic import JsonValue

from loops.context import Context
from loops.dialogue import spoken
from loops.errors import ScenarioInvalid
from loops.ports import Forecast
from loops.randomness import derive
from loops.reasoners.language.answers import Asked, Redact, Scribe
from loops.reasoners.language.client import Endpoint, Secret
from loops.reasoners.language.compaction import compact
from loops.reasoners.language.ear import Ear
from loops.reasoners.language.failures import Failure
from loops.reasoners.language.messages import Prompt, actions, asked_last, build, sources
from loops.reasoners.language.router import Embed, Router
from loops.reasoners.language.settings import (
    NOT_SENT,
    EndpointSettings,
    LanguageSettings,
    ModelDefaults,
    SpecialistSettings,
)
from loops.reasoners.language.wire import Reply
from telemetry.events import Event, reason
from telemetry.events.values import Action, Feedback, Persistence, Say, ToolCalls, digest_of
from telemetry.otel.context import under


class Language:
    """Asks one endpoint, or one for each specialist, `n` answers of each."""

    def __init__(
        self,
        settings: LanguageSettings,
        *,
        defaults: ModelDefaults,
        secret: Secret,
        redact: Redact,
        embed: Embed,
    ) -> None:
        self._settings = settings
        self._redact = redact
        self._scribe = Scribe(redact, defaults.prices)
        self._router = Router(settings, embed)
        self._models = {name: _model(name, one, defaults) for name, one in settings.endpoints.items()}
        self._endpoints = {
            name: Endpoint(name, one, base_url=one.base_url or defaults.base_url, secret=secret)
            for name, one in settings.endpoints.items()
        }
        self._specialists = {one.name: one for one in settings.specialists}

    def request(self, context: Context) -> Sequence[Event]:
        if context.state.refused >= self._settings.max_refused or not _asks(context):
            return ()
        chosen = self._choose(context)

        def tokens(moment: Context) -> int:
            return max(self._prompt(moment, endpoint, who).tokens for who, endpoint, _ in chosen)

        compacted = compact(context, self._settings.context, tokens)
        events: list[Event] = [] if compacted is None else [compacted]
        after = context.after(events)
        return [*events, *(self._requested(after, call, *one) for call, one in enumerate(chosen))]

    def answer(self, context: Context, heard: Callable[[str], None]) -> Sequence[Event]:
        """A person hears the answer while it comes where there is one; of several, none is decided on yet."""
        requests = context.scene.requests
        if not requests:
            return ()
        aloud = heard if len(requests) == 1 and self._settings.n == 1 else None
        if len(requests) == 1:  # the common case needs no thread but the caller's
            results = [self._ask(context, requests[0], aloud)]
        else:
            with ThreadPoolExecutor(max_workers=len(requests), thread_name_prefix="language") as pool:
                results = list(pool.map(lambda requested: self._ask(context, requested, aloud), requests))
        taken = {call.id for turn in context.scene.dialogue for call in turn.calls}
        events: list[Event] = []
        for requested, (attempts, result) in zip(requests, results, strict=True):
            asked = Asked(
                requested,
                cycle=context.state.cycle,
                n=self._settings.n,
                native_tools=self._settings.endpoints[requested.endpoint].native_tools,
                tools=actions(context),
                attempts=attempts,
            )
            if isinstance(result, Failure):
                error = self._endpoints[requested.endpoint].explain(result, attempts=attempts)
                events.append(self._scribe.unanswered(asked, result, error))
            else:
                events += self._scribe.answered(asked, result, taken)
        return events

    def propose(self, context: Context, forecast: Forecast) -> Sequence[reason.Proposed]:
        if context.state.refused >= self._settings.max_refused:
            return [_proposed(0, Say(text=_nothing_allowed(context)), None, "max_refused")]
        return [
            _proposed(
                place,
                ToolCalls(calls=answer.calls) if answer.calls else Say(text=answer.text),
                -sum(answer.logprobs) / len(answer.logprobs) if answer.logprobs else None,
                _who(context, answer),
            )
            for place, answer in enumerate(spoken(context.scene.answers))
        ]

    def persist(self, context: Context, action: Action) -> Persistence | None:
        return None

    def _choose(self, context: Context) -> list[tuple[SpecialistSettings | None, str, str]]:
        """Who asks which endpoint, and why that one."""
        latest = asked_last(context.scene.dialogue)
        message = "" if latest is None else latest.text
        return [
            (who, *self._router.route(message))
            if who is None or who.endpoint is None
            else (who, who.endpoint, f"the specialist {who.name} asks it")
            for who in self._settings.specialists or (None,)
        ]

    def _prompt(self, context: Context, endpoint: str, who: SpecialistSettings | None) -> Prompt:
        native = self._settings.endpoints[endpoint].native_tools
        return build(context, self._settings, specialist=who, native_tools=native)

    def _requested(
        self, context: Context, call: int, who: SpecialistSettings | None, endpoint: str, why: str
    ) -> reason.Requested:
        prompt, one = self._prompt(context, endpoint, who), self._endpoints[endpoint]
        parameters = _parameters(self._settings.endpoints[endpoint], self._settings.n)
        parameters |= {"host": one.host, "tools": prompt.tools_digest}
        if one.left_out:
            parameters["left_out"] = [*sorted(one.left_out)]
        return reason.Requested(
            call=call,
            specialist="" if who is None else who.name,
            endpoint=endpoint,
            model=self._models[endpoint],
            parameters=parameters,
            seed=derive(context.state.seed, "model", context.state.cycle, call),
            prompt=prompt.digest,
            context=sources(context),
            why=why,
        )

    def _ask(
        self, context: Context, requested: reason.Requested, heard: Callable[[str], None] | None
    ) -> tuple[int, Reply | Failure]:
        prompt = self._prompt(context, requested.endpoint, self._specialists.get(requested.specialist))
        assert prompt.digest == requested.prompt, "what is sent is what its event says"
        body: dict[str, JsonValue] = {"model": requested.model, "messages": [*prompt.messages]}
        if prompt.tools:
            body["tools"] = [*prompt.tools]
        body |= {name: value for name, value in requested.parameters.items() if name not in NOT_SENT}
        seed = requested.seed or 0
        ear = Ear(
            heard,
            redact=self._redact.text,
            hide_tags=not self._settings.endpoints[requested.endpoint].native_tools,
            by_line=any(tool.secret for tool in actions(context).tools),
        )
        with under(context.scene.ids.get(f"reason.requested/{requested.call}", ""), cycle=context.state.cycle):
            return self._endpoints[requested.endpoint].ask({**body, "seed": seed}, seed=seed, ear=ear)


def _model(name: str, settings: EndpointSettings, defaults: ModelDefaults) -> str:
    model = settings.model or defaults.model
    if model is None:
        raise ScenarioInvalid(
            f"the endpoint {name!r} names no model, and this machine's settings name none. "
            f"Set `model` in [reasoner.language.endpoints.{name}], or the setting `model` of this machine"
        )
    return model


def _parameters(settings: EndpointSettings, n: int) -> dict[str, JsonValue]:
    """What is sent beside model, messages, tools and seed."""
    sent: dict[str, JsonValue] = {
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "max_tokens": settings.max_tokens,
        "n": n if n > 1 else None,
    }
    if settings.logprobs:
        sent |= {"logprobs": True, "return_tokens_as_token_ids": True}
    if settings.stream:
        sent |= {"stream": True, "stream_options": {"include_usage": True}}
    return {name: value for name, value in sent.items() if value is not None}


def _asks(context: Context) -> bool:
    """Whether there is something to answer: a message, an outcome, or what was left unanswered before. Feedback asks
    for nothing."""
    observed = context.scene.observed
    assert observed is not None, "reason follows sense"
    if observed.of or any(not isinstance(one, Feedback) for one in observed.observations):
        return True
    before = next((turn for turn in reversed(context.scene.dialogue) if not turn.note), None)
    return before is not None and before.role != "assistant"


def _proposed(place: int, action: Say | ToolCalls, score: float | None, why: str) -> reason.Proposed:
    return reason.Proposed(proposal=place, action=action, arguments=digest_of(action), score=score, why=why)


def _who(context: Context, answer: reason.Answered) -> str:
    """The specialist that asked, or the model that answered."""
    asked = (one.specialist for one in context.scene.requests if one.call == answer.call)
    return next(asked, "") or answer.model


def _nothing_allowed(context: Context) -> str:
    """What the agent says when it stops, with the rules that held back what it proposed last."""
    grounds = [g for judged in context.scene.judged_before if judged.verdict != "allow" for g in judged.grounds]
    rules = dict.fromkeys(f"{ground.rule}: {ground.reason}" for ground in grounds)
    said = "I stop here: nothing that I proposed is allowed."
    return "\n".join((said, *(f"- {rule}" for rule in rules)))
