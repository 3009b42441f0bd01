"""Which events count for what: a projection, so totals and cursor are one transaction.

Knows the events of sessions by their stored content; knows no SDK. Invariant: equal events give equal totals, however
they are cut into batches and whoever goes on with them, so nothing counts twice or is left out across a kill."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import orjson
from pydantic import JsonValue, TypeAdapter

from telemetry.errors import InvalidEvent
from telemetry.events.event import Unknown
from telemetry.events.registry import CLASSES
from telemetry.otel import names
from telemetry.otel.measures.totals import Totals

if TYPE_CHECKING:
    from telemetry.events.envelope import Recorded
    from telemetry.log.projection.place import Rows

SESSION: Final = "session/"
WORKING: Final = frozenset({"sense", "feel", "reason", "execute", "learn"})
UNKNOWN_KEPT: Final = 1_000
"""Effects of one session whose outcome nobody knows; the oldest of more are not told apart when they are reconciled."""

Content: TypeAlias = Mapping[str, JsonValue]


@dataclass(slots=True)
class Live:
    """What the next events of a session are counted by."""

    agent: str | None = None
    latest_at: int = 0
    cycle: int = 0
    """The open one; 0 between two."""
    before_at: int = 0
    """When what came before the cycle was appended."""
    first_at: int = 0
    """When the first of the cycle was."""
    lead_ns: int = 0
    """How long the commands took that were appended then."""
    phases: dict[str, int] = field(default_factory=dict)
    """Nanoseconds that each worked in the open cycle."""
    asked: dict[int, tuple[str | None, int]] = field(default_factory=dict)
    """Model of each request of the open cycle, and when it was made."""
    effects: dict[str, tuple[str | None, str | None, str | None, int]] = field(default_factory=dict)
    """Kind, class and tool of those without a final outcome, and when each was intended."""


_LIVE: TypeAdapter[Live] = TypeAdapter(Live)


class Measures:
    """The projection."""

    name = "metrics"
    version = 1
    types: tuple[str, ...] = ()
    tables: tuple[str, ...] = (
        "CREATE TABLE totals (one BIGINT PRIMARY KEY, body TEXT NOT NULL)",
        "CREATE TABLE live (stream TEXT PRIMARY KEY, body TEXT NOT NULL)",
    )

    def apply(self, rows: Rows, events: Sequence[Recorded]) -> None:
        if not events:
            return
        totals = totals_of(rows)
        lives = _lives(rows, {event.stream for event in events if event.stream.startswith(SESSION)})
        if not totals.began:
            totals.began = events[0].at
        for event in events:
            totals.add(names.EVENT_COUNT, event.phase)
            if event.stream.startswith(SESSION):
                live = lives.setdefault(event.stream, Live())
                if event.type == "session.forked":
                    live.agent = _parents(rows, lives, event)
                count(totals, live, event)
            totals.latest = max(totals.latest, event.at)
        _save(rows, "totals", "one", {1: totals.kept()})
        _save(
            rows,
            "live",
            "stream",
            {
                stream: orjson.dumps(asdict(live), option=orjson.OPT_NON_STR_KEYS).decode()
                for stream, live in lives.items()
            },
        )


def totals_of(rows: Rows) -> Totals:
    found = rows.execute("SELECT body FROM totals")
    return Totals.taken_up(str(found[0][0])) if found else Totals()


def count(totals: Totals, live: Live, event: Recorded) -> None:
    """Counts the next event of the session that `live` is of."""
    if live.cycle and event.elapsed_ns:
        if event.at == live.first_at:
            live.lead_ns += event.elapsed_ns
        if event.phase in WORKING:
            live.phases[event.phase] = live.phases.get(event.phase, 0) + event.elapsed_ns
    counted = _COUNTED.get(event.type)
    if counted is not None:
        counted(totals, live, event, _content(event))
    live.latest_at = event.at


def _opened(totals: Totals, live: Live, event: Recorded, content: Content) -> None:
    live.agent = _text(content, "scenario")
    totals.add(names.SESSION_COUNT, live.agent, "opened")


def _forked(totals: Totals, live: Live, event: Recorded, content: Content) -> None:
    totals.add(names.SESSION_COUNT, live.agent, "forked")


def _closed(totals: Totals, live: Live, event: Recorded, content: Content) -> None:
    totals.add(names.SESSION_COUNT, live.agent, _text(content, "reason"))


def _cycle_opened(totals: Totals, live: Live, event: Recorded, content: Content) -> None:
    live.cycle, live.before_at, live.first_at, live.lead_ns = event.cycle, live.latest_at, event.at, event.elapsed_ns
    live.phases, live.asked = {}, {}


def _cycle_closed(totals: Totals, live: Live, event: Recorded, content: Content) -> None:
    totals.add(names.CYCLE_COUNT, live.agent)
    if live.cycle:
        began = max(live.before_at, live.first_at - live.lead_ns)
        totals.record(names.CYCLE_S, live.agent, value=max(0, event.at - began) / 1e9)
        for phase, ns in live.phases.items():
            totals.record(names.PHASE_S, live.agent, phase, value=ns / 1e9)
    live.cycle, live.phases, live.asked = 0, {}, {}


def _surprised(totals: Totals, live: Live, event: Recorded, content: Content) -> None:
    nats = _number(content, "nats")
    if nats is not None:
        totals.record(names.SURPRISE_NATS, live.agent, value=nats)
        totals.add(names.SURPRISE_NET, live.agent, value=nats)


def _rewarded(totals: Totals, live: Live, event: Recorded, content: Content) -> None:
    reward = _number(content, "reward")
    if reward is not None:
        totals.record(names.REWARD_SIZE, live.agent, value=reward)
        totals.add(names.REWARD_NET, live.agent, value=reward)
    if content.get("ends_episode"):
        success = content.get("success")
        outcome = "ended" if success is None else "succeeded" if success else "failed"
        totals.add(names.EPISODE_COUNT, live.agent, outcome)


def _inhibited(totals: Totals, live: Live, event: Recorded, content: Content) -> None:
    rules = content.get("rules")
    rule = rules[0] if isinstance(rules, list) and rules else None
    totals.add(names.INHIBITION_COUNT, live.agent, rule if isinstance(rule, str) else None)


def _approval(totals: Totals, live: Live, event: Recorded, content: Content) -> None:
    if event.type == "execute.approval_given":
        totals.add(names.APPROVAL_COUNT, live.agent, "granted" if content.get("granted") else "denied")
        return
    totals.add(names.APPROVAL_COUNT, live.agent, "asked")
    _intended(totals, live, event, content)


def _intended(totals: Totals, live: Live, event: Recorded, content: Content) -> None:
    effect, action = _text(content, "effect"), content.get("action")
    if effect is None or not isinstance(action, dict):
        return
    calls = action.get("calls")
    call = calls[0] if isinstance(calls, list) and calls else None
    tool = _text(call, "tool") if isinstance(call, dict) else None
    live.effects[effect] = _text(action, "kind"), _text(content, "effect_class"), tool, event.at


def _outcome(totals: Totals, live: Live, event: Recorded, content: Content) -> None:
    effect, outcome = _text(content, "effect") or "", event.type.partition(".")[2]
    kind, effect_class, tool, since = known = live.effects.pop(effect, (None, None, None, event.at))
    if outcome == "unknown" and effect:
        live.effects[effect] = known
        if len(live.effects) > UNKNOWN_KEPT:
            del live.effects[next(iter(live.effects))]
    totals.add(names.EFFECT_COUNT, live.agent, kind, effect_class, outcome)
    if tool is not None and outcome in ("succeeded", "failed", "unknown"):
        error = None if outcome == "succeeded" else _text(content, "kind") or outcome
        totals.record(names.TOOL_S, live.agent, tool, error, value=_lasted_s(event, since))


def _requested(totals: Totals, live: Live, event: Recorded, content: Content) -> None:
    live.asked[_call(content)] = _text(content, "model"), event.at


def _answered(totals: Totals, live: Live, event: Recorded, content: Content) -> None:
    error = _text(content, "kind") if event.type == "reason.unanswered" else None
    asked, since = live.asked.get(_call(content), (None, event.at))
    model = (names.CHAT, names.OPENAI, asked, _text(content, "model"))
    totals.record(names.MODEL_S, *model, error, value=_lasted_s(event, since))
    usage = content.get("usage")
    if not isinstance(usage, dict):
        return
    for kind in ("input", "output"):
        if tokens := _number(usage, f"{kind}_tokens"):
            totals.record(names.MODEL_TOKENS, *model, kind, value=tokens)
    if cost := _number(usage, "cost_usd"):
        totals.add(names.MODEL_COST_USD, live.agent, model[-1], value=cost)


_COUNTED: Final[Mapping[str, Callable[[Totals, Live, Recorded, Content], None]]] = {
    "session.opened": _opened,
    "session.forked": _forked,
    "session.closed": _closed,
    "session.cycle_opened": _cycle_opened,
    "session.cycle_closed": _cycle_closed,
    "sense.surprised": _surprised,
    "feel.inhibited": _inhibited,
    "reason.requested": _requested,
    "reason.answered": _answered,
    "reason.unanswered": _answered,
    "execute.intended": _intended,
    "execute.succeeded": _outcome,
    "execute.failed": _outcome,
    "execute.unknown": _outcome,
    "execute.reconciled": _outcome,
    "execute.cancelled": _outcome,
    "execute.approval_asked": _approval,
    "execute.approval_given": _approval,
    "learn.rewarded": _rewarded,
}


def _content(event: Recorded) -> Content:
    """What is stored, as today's schema has it; nothing where it is withheld, unreadable or newer than this version."""
    if event.schema != CLASSES[event.type].SCHEMA:
        try:
            known = event.event
        except InvalidEvent:
            return {}
        return {} if isinstance(known, Unknown) else known.model_dump(mode="json")
    body = event.payload if event.encoding == "plain" else event.content
    try:
        found = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _lasted_s(event: Recorded, since: int) -> float:
    """How long that took which ends here: as it was measured, or else since it was begun."""
    return (event.elapsed_ns or max(0, event.at - since)) / 1e9


def _text(content: Content, name: str) -> str | None:
    found = content.get(name)
    return found if isinstance(found, str) and found else None


def _number(content: Content, name: str) -> float | None:
    found = content.get(name)
    return found if isinstance(found, int | float) else None


def _call(content: Content) -> int:
    found = content.get("call")
    return found if isinstance(found, int) else 0


def _lives(rows: Rows, streams: set[str]) -> dict[str, Live]:
    if not streams:
        return {}
    among = ", ".join("?" * len(streams))
    found = rows.execute(f"SELECT stream, body FROM live WHERE stream IN ({among})", sorted(streams))
    return {str(stream): _LIVE.validate_json(str(body)) for stream, body in found}


def _parents(rows: Rows, lives: Mapping[str, Live], event: Recorded) -> str | None:
    """The agent of whom the session was forked from: a fork goes on as its parent was opened."""
    parent = _text(_content(event), "parent") or ""
    known = lives.get(parent) or _lives(rows, {parent}).get(parent)
    return None if known is None else known.agent


def _save(rows: Rows, table: str, key: str, bodies: Mapping[str, str] | Mapping[int, str]) -> None:
    if bodies:
        values = ", ".join(["(?, ?)"] * len(bodies))
        rows.execute(
            f"INSERT INTO {table} ({key}, body) VALUES {values} ON CONFLICT ({key}) DO UPDATE SET body = excluded.body",
            [cell for pair in bodies.items() for cell in pair],
        )
