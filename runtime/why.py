"""Why a session did what it did: one decision with everything it rests on, from the log alone.

Knows events; asks no model and makes nothing up. Invariant: every line names the event that says it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from runtime.errors import NotFound
from runtime.sessions import PREFIX, opened, stream_of
from telemetry.errors import EventsPruned
from telemetry.events import Event, Recorded, Unknown, execute, feel, learn, reason, sense, session, split_id
from telemetry.events.values import (
    Action,
    Array,
    AskHuman,
    EventId,
    Feedback,
    Ground,
    Message,
    Move,
    Observation,
    Playbook,
    Say,
    Text,
    ToolCall,
    ToolCalls,
    Usage,
    canonical_json,
)
from telemetry.log import EventLog

LABEL_CHARACTERS = 10
SHOWN_CHARACTERS = 400
"""Of one text; the whole stands in the event that its line names."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that bears on the decision, in words, and the event that says so."""

    label: str
    text: str
    event: EventId


@dataclass(frozen=True, slots=True)
class Why:
    """A decision and what it rests on, in the order in which it happened."""

    session: str
    cycle: int
    decision: EventId
    facts: tuple[Fact, ...]

    def lines(self) -> list[str]:
        """For people: a label, the words, the event's id."""
        rows = [f"{fact.label:<{LABEL_CHARACTERS}} {fact.text}  [{fact.event}]" for fact in self.facts]
        return [f"session {self.session}, cycle {self.cycle}", *rows]


def why(log: EventLog, session: str, *, event: str | None = None) -> Why:
    """The last decision of a session, or the one of the cycle that `event` (its id or version) stands in.

    Raises `NotFound` for an unknown session or event, or where nothing was decided."""
    stream = stream_of(session)
    playbook = _playbook(log, stream)
    decided = _decision(log, stream, event)
    facts: list[Fact] = []
    if playbook is not None:
        facts.append(Fact("playbook", playbook.id, f"{stream}@1"))
    for recorded in _cycle(log, decided):
        if isinstance(recorded.event, sense.Observed) and _may_have_been_asked(recorded.event):
            facts += _request_before(log, recorded)
        facts += (Fact(label, text, recorded.id) for label, text in _facts(log, recorded.event))
    facts += _found_out_later(log, stream, decided)
    return Why(stream.removeprefix(PREFIX), decided.cycle, decided.id, tuple(facts))


def _playbook(log: EventLog, stream: str) -> Playbook | None:
    """The version that shaped the session; None where its beginning was archived and removed, which a decision that
    still stands does without."""
    try:
        return opened(log, stream).playbook
    except EventsPruned:
        return None


def _decision(log: EventLog, stream: str, event: str | None) -> Recorded:
    name = stream.removeprefix(PREFIX)
    if event is None:
        for recorded in log.read_back(stream, types=("reason.decided",)):
            return recorded
        raise NotFound(f"session {name} has not decided anything yet")
    version = int(event) if event.isdigit() else split_id(event)[1]
    asked = next(log.read(stream, after=version - 1, to=version), None) if version > 0 else None
    if asked is None or event not in (str(version), asked.id):  # of a fork, an event may be its parent's
        raise NotFound(f"there is no event {event} in session {name}. Try: aether session tail {name}")
    for recorded in log.read(stream, after=version - 1, types=("reason.decided", "session.cycle_opened")):
        if recorded.cycle != asked.cycle:
            break
        if recorded.type == "reason.decided":
            return recorded
    for recorded in log.read_back(stream, before=version, types=("reason.decided", "session.cycle_opened")):
        if recorded.type == "reason.decided" and recorded.cycle == asked.cycle:
            return recorded
        break
    raise NotFound(f"nothing was decided in cycle {asked.cycle}, which {asked.id} stands in")


def _cycle(log: EventLog, decided: Recorded) -> Iterator[Recorded]:
    """The events of the decision's cycle."""
    begins = (r.version for r in log.read_back(decided.stream, before=decided.version, types=("session.cycle_opened",)))
    for recorded in log.read(decided.stream, after=next(begins, 0)):
        if recorded.cycle == decided.cycle:
            yield recorded
        if recorded.type == "session.cycle_closed":
            return


def _request_before(log: EventLog, observed: Recorded) -> list[Fact]:
    """What a person had said last, where the cycle itself heard nobody."""
    try:
        for recorded in log.read_back(observed.stream, before=observed.version, types=("sense.observed",)):
            if isinstance(recorded.event, sense.Observed) and _spoken(recorded.event):
                return [Fact("heard", text, recorded.id) for text in _spoken(recorded.event)]
    except EventsPruned:  # it was said in what was archived and removed
        return []
    return []


def _found_out_later(log: EventLog, stream: str, decided: Recorded) -> list[Fact]:
    later = log.read(stream, after=decided.version, types=("execute.reconciled",))
    return [
        Fact("found out", f"it {'happened' if event.happened else 'did not happen'}: {event.why} ({event.by})", r.id)
        for r in later
        if isinstance(event := r.event, execute.Reconciled) and event.cycle == decided.cycle
    ]


def _facts(log: EventLog, event: Event | Unknown) -> Iterator[tuple[str, str]]:
    """Label and words of what `event` says; nothing for what only frames the cycle."""
    match event:
        case sense.Observed():
            for text in _spoken(event):
                yield "heard", text
            for text in _seen(event.observations):
                yield "saw", text
            for outcome in event.of:
                stream, version = split_id(outcome)
                for recorded in log.read(stream, after=version - 1, to=version):
                    for _, text in _done(recorded.event):
                        yield "knew", f"{text} ({outcome})"
        case sense.Recalled(hits=hits):
            for hit in hits:
                yield "recalled", f"{shortened(hit.text or hit.event)} ({hit.event}, likeness {hit.score:.2f})"
        case sense.ContextCompacted():
            yield "left out", f"{len(event.dropped)} older turns, for the context's budget ({event.policy})"
        case feel.Appraised() | feel.Inhibited() | feel.AlternativeOffered():
            yield from _felt(event)
        case reason.Requested() | reason.Answered() | reason.Unanswered():
            yield from _asked_models(event)
        case reason.Planned():
            yield "planned", f"{len(event.options)} options, by the model {event.model}"
        case reason.Proposed():
            score = "" if event.score is None else f", score {event.score:g}"
            because = f": {shortened(event.why)}" if event.why else ""
            yield "option", f"{event.proposal}. {told(event.action)}{because}{score}"
        case reason.Decided():
            verdicts = ", ".join(f"{option.proposal} {option.verdict}" for option in event.options)
            yield "chose", f"{told(event.action)}: {shortened(event.why)}{f' (of: {verdicts})' if verdicts else ''}"
        case learn.Rewarded():
            yield "reward", f"{event.reward:g}"
        case session.CycleClosed(usage=usage) if usage != Usage():
            yield "cost", _cost(usage)
        case _ if event.type.startswith("execute."):
            yield from _done(event)


def _felt(event: feel.Appraised | feel.Inhibited | feel.AlternativeOffered) -> Iterator[tuple[str, str]]:
    match event:
        case feel.Appraised(appraisal=appraisal, constraints=constraints):
            what = "what was asked" if appraisal.of == "request" else f"option {appraisal.proposal}"
            if appraisal.grounds or appraisal.of == "proposal":
                yield "judged", f"{what}: {appraisal.verdict}{_because(appraisal.grounds)}"
            for constraint in constraints:
                yield "bound by", shortened(constraint)
        case feel.Inhibited():
            yield "held back", f"option {event.proposal}, by {', '.join(event.rules)}"
        case feel.AlternativeOffered():
            yield "instead", f"{told(event.action)}: {shortened(event.why)}"


def _because(grounds: tuple[Ground, ...]) -> str:
    return "".join(f"; {ground.rule}: {shortened(ground.reason)}" for ground in grounds)


def _asked_models(event: reason.Requested | reason.Answered | reason.Unanswered) -> Iterator[tuple[str, str]]:
    match event:
        case reason.Requested():
            who = f" for {event.specialist}" if event.specialist else ""
            yield "asked", f"{event.model} at {event.endpoint}{who}{f': {event.why}' if event.why else ''}"
        case reason.Answered():
            calls = f" and {len(event.calls)} calls" if event.calls else ""
            yield "answered", f"{event.model}: {shortened(event.text) or 'no words'}{calls} ({_cost(event.usage)})"
        case reason.Unanswered():
            tries = "attempt" if event.attempts == 1 else "attempts"
            yield "no answer", f"{event.model} at {event.endpoint}, {event.attempts} {tries}: {shortened(event.error)}"


def _done(event: Event | Unknown) -> Iterator[tuple[str, str]]:
    match event:
        case execute.ApprovalAsked():
            yield "question", f"{told(event.action)}: {shortened(event.why)}"
        case execute.ApprovalGiven():
            words = "allowed" if event.granted else "refused"
            yield words, f"by {event.by}{f': {shortened(event.why)}' if event.why else ''}"
        case execute.Intended():
            yield "did", f"{told(event.action)} ({event.effect_class}, effect {event.effect[:12]})"
        case execute.Succeeded(result=result) if result is not None:
            yield "outcome", f"{result.tool} answered {shortened(canonical_json(result.content))}"
        case execute.Succeeded():
            yield "outcome", "done"
        case execute.Failed():
            yield "outcome", f"failed ({event.kind}): {shortened(event.error)}"
        case execute.UnknownOutcome():
            yield "outcome", f"whether it happened is unknown: {shortened(event.why)}"
        case execute.Cancelled():
            yield "outcome", f"not done: {shortened(event.why)}"


def told(action: Action) -> str:
    """An action in words, as people are asked about it: nothing of it is left out."""
    match action:
        case ToolCalls(calls=calls):
            return ", ".join(_call(call) for call in calls)
        case Say(text=text):
            return f"say {text!r}"
        case AskHuman(question=question):
            return f"ask {question!r}"
        case Move(to=to):
            return f"move {to if isinstance(to, int) else to.numpy().tolist()}"
    return "wait"


def _call(call: ToolCall) -> str:
    arguments = ", ".join(f"{name}={canonical_json(value)}" for name, value in sorted(call.arguments.items()))
    return f"{call.tool}({arguments}){f', which cannot be made: {call.invalid}' if call.invalid else ''}"


def _spoken(observed: sense.Observed) -> list[str]:
    return [shortened(o.text) for o in observed.observations if isinstance(o, Message) and o.role == "user"]


def _may_have_been_asked(observed: sense.Observed) -> bool:
    """Whether somebody may have said before what the session is about: nobody does so in a world of numbers."""
    return not _spoken(observed) and not any(isinstance(one, Array) for one in observed.observations)


def _seen(observations: tuple[Observation, ...]) -> Iterator[str]:
    for observation in observations:
        match observation:
            case Text(name=name, text=text):
                yield f"{name}: {shortened(text)}"
            case Feedback(rating=rating, text=text, about=about):
                judged = "" if rating is None else f"rated {rating:+g} "
                yield f"feedback {judged}{shortened(text)}{f' about {about}' if about else ''}"


def _cost(usage: Usage) -> str:
    price = f", ${usage.cost_usd:.4f}" if usage.cost_usd else ""
    return f"{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out{price}"


def shortened(text: str) -> str:
    """`text` on one line, at most SHOWN_CHARACTERS of it."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}…"
