"""Running sessions, from a scenario or from the log: the use case behind `aether run` and `session resume`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from statistics import fmean

from pydantic import BaseModel, ConfigDict

from loops.environments import make_environment
from loops.randomness import derive
from runtime.compose import check_fit, check_regions, compose, make_models
from runtime.errors import DONE, INTERRUPTED, UsageError, exit_code_of
from runtime.hosting.orders import SessionOrder, surroundings_of
from runtime.learning.course import scheduled
from runtime.learning.fleet import Fleet, Watch, ran
from runtime.ledger import ledger
from runtime.scenario import Scenario, ScenarioFile
from runtime.sessions import OBSERVED, PREFIX, SessionRow, is_told, new_session, opened, stream_of
from runtime.settings import Settings, log_url
from telemetry.events import execute, feel, learn, reason, sense, session
from telemetry.events.values import Message
from telemetry.log import EventLog, is_postgres, open_log

TENTH = 10
"""Parts that a session's surprises are cut into; its first and last are shown."""

_COUNTED = ("sense.surprised", "session.cycle_closed", "feel.inhibited", "learn.rewarded")
_OWNED = ("session.resumed", "session.suspended", "session.forked", "execute.dispatched")
"""What says whose a session is, or that it rests."""
_SPOKEN = (
    "sense.observed",
    "execute.succeeded",
    "execute.failed",
    "execute.unknown",
    "execute.cancelled",
    "reason.unanswered",
)
"""What a conversation adds; a maze has an observation a cycle, which nobody here looks at."""


class Summary(BaseModel):
    """What a run came to, from the log. Surprise is in nats per dimension, the mean over the sessions."""

    model_config = ConfigDict(frozen=True)

    sessions: int
    hosts: int
    """Session hosts that they were spread over."""
    cycles: int
    episodes: int
    successes: int
    success_rate: float | None
    """Share of the episodes that the environment called a success; None when none ended with its word on it."""
    surprise_first_tenth: float | None
    surprise_last_tenth: float | None
    inhibitions: int
    messages: int
    """What people said."""
    calls: dict[str, int]
    """Tool calls by what became of them."""
    unanswered: int
    """Requests that no model answered."""
    model_calls: int
    tokens: int
    cost_usd: float
    events: int
    log: str
    log_bytes: int


class RunResult(BaseModel):
    model_config = ConfigDict(frozen=True)

    rows: tuple[SessionRow, ...]
    errors: tuple[str, ...]
    """What kept a session from ending, with its id."""
    not_begun: int = 0
    """Sessions that were ordered and are not on the log, as their turn had not come."""
    exit_code: int
    summary: Summary
    as_of: int
    telemetry: tuple[str, ...] = ()
    """What of it waits for the next run, and why."""


def check_scenario(file: ScenarioFile, settings: Settings) -> None:
    """Makes the environment once, before any cluster is started.

    Raises `EnvironmentNotFound`, `ScenarioInvalid`, `RegionMismatch`."""
    if file.scenario.environment.is_conversation:
        _check_conversation(file.scenario, settings)
        return
    environment = make_environment(file.scenario.environment)
    try:
        which = file.scenario.world_model.model
        models = make_models(file.scenario, surroundings_of(settings).reader(file.scenario))
        model = None if which is None else models.load(which).model_id
        check_fit(file.scenario, environment.spaces, models, model=model)
        if any(rule.region is not None for rule in file.scenario.heart.rules):
            check_regions(file.scenario, environment.spaces, environment.reset(seed=0))
    finally:
        environment.close()


def _check_conversation(scenario: Scenario, settings: Settings) -> None:
    surroundings_of(settings).enter()
    phases = compose(scenario, defaults=settings.model_defaults)
    try:
        spaces, _ = phases.describe("check", scenario.conversation.person)
        check_fit(scenario, spaces, phases.models, model=None)
    finally:
        phases.forget("check")


def new_orders(
    file: ScenarioFile, *, sessions: int | None = None, cycles: int | None = None, seed: int | None = None
) -> list[SessionOrder]:
    """Orders for fresh sessions; each session's seed is derived from the scenario's, so a run can be repeated."""
    scenario = file.scenario
    root = scenario.seed if seed is None else seed
    return [
        SessionOrder(
            session=new_session(),
            scenario_text=file.text,
            seed=derive(root, "session", index),
            cycles=scenario.cycles if cycles is None else cycles,
        )
        for index in range(scenario.sessions if sessions is None else sessions)
    ]


def resume_orders(
    log: EventLog, sessions: Sequence[str], *, untold: Callable[[str], None] = lambda _: None
) -> list[SessionOrder]:
    """Orders for sessions that are on the log and not closed. When none is named all of those, but for the ones that
    cannot be taken up as what they opened with is withheld; `untold` hears of each."""
    if not sessions:
        with ledger(log) as found:
            names = found.to_resume()
        told = {name: is_told(log, stream_of(name)) for name in names}
        for name in names:
            if not told[name]:
                untold(name)
        return [SessionOrder(session=name) for name in names if told[name]]
    for name in sessions:
        if _observed(log, name):
            raise UsageError(
                f"{name} was observed by a gateway: its agent runs elsewhere, so nothing can be resumed here"
            )
    return [SessionOrder(session=name.removeprefix(PREFIX)) for name in sessions]


def at_work(log: EventLog, sessions: Collection[str]) -> set[str]:
    """Those that a living process of this machine has taken up. On SQLite none: there the log itself has one owner."""
    if not is_postgres(log.url):
        return set()
    from runtime.hosting.executors import life_here, parse  # loads Ray

    found = set()
    for name in sessions:
        latest = next(iter(log.read_back(stream_of(name), types=_OWNED)), None)
        if latest is None or latest.withheld:  # it cannot be taken up, and says so itself
            continue
        match latest.event:
            case session.Resumed(owner=owner) | execute.Dispatched(executor=owner):
                executor = parse(owner)
                if executor is not None and life_here(executor) == "alive":
                    found.add(name)
    return found


def _observed(log: EventLog, session: str) -> bool:
    """Whether the session was only watched. Raises `NotFound` when there is none."""
    return opened(log, stream_of(session)).environment == OBSERVED


def run_orders(
    settings: Settings, orders: Sequence[SessionOrder], *, watch: Watch, said: Callable[[str], None] = lambda _: None
) -> RunResult:
    """Runs the orders on Ray, and learns beside them where their scenario says when; `said` hears of that. Ctrl-C lets
    every session finish its cycle and rest; the exit code is 130 then."""
    exit_code = DONE
    errors: list[str] = []
    with Fleet(settings, orders) as fleet:
        before, hosts = fleet.hosts.position(), len(fleet.hosts)
        try:
            with _learning(fleet, orders, watch=watch, said=said) as beside:
                for session, error in fleet.ending(orders, watch=beside):
                    if error is not None:
                        errors.append(f"{session}: {error}")
                        exit_code = max(exit_code, exit_code_of(error))
        except KeyboardInterrupt:
            exit_code = INTERRUPTED
    with closing(open_log(log_url(settings), mode="read")) as log:
        came = ran(log, orders, errors=errors, exit_code=exit_code)
        return RunResult(
            rows=came.rows,
            errors=came.errors,
            not_begun=len(orders) - len(came.rows),
            exit_code=came.exit_code,
            summary=summarise(log, came.rows, since=before, hosts=hosts),
            as_of=log.position(),
            telemetry=fleet.telemetry,
        )


@contextmanager
def _learning(
    fleet: Fleet, orders: Sequence[SessionOrder], *, watch: Watch, said: Callable[[str], None]
) -> Iterator[Watch]:
    """Learns while the sessions run, where one of their scenarios says when; `watch`, with what is learnt."""
    courses = scheduled(orders, url=fleet.url)
    if not courses:
        yield watch
        return
    from runtime.learning.scheduled.beside import Beside  # loads torch

    with Beside(fleet.hosts, fleet.settings, courses, said=said) as beside:
        yield beside.watching(watch)


def summarise(log: EventLog, rows: Sequence[SessionRow], *, since: int, hosts: int) -> Summary:
    """The figures of these sessions from their events after position `since`."""
    counts = Counter[str]()
    calls = Counter[str]()
    cost_usd = 0.0
    nats: dict[str, list[float]] = {}
    streams = {stream_of(row.session) for row in rows}
    converses = any(opened(log, stream).environment.startswith("tools:") for stream in streams)
    for recorded in log.read_all(after=since, types=(*_COUNTED, *_SPOKEN) if converses else _COUNTED):
        if recorded.stream not in streams:
            continue
        match recorded.event:
            case sense.Surprised(nats=surprise):
                nats.setdefault(recorded.stream, []).append(surprise)
            case session.CycleClosed(usage=usage):
                counts["cycles"] += 1
                counts["model_calls"] += usage.model_calls
                counts["tokens"] += usage.input_tokens + usage.output_tokens
                cost_usd += usage.cost_usd
            case sense.Observed(observations=observations):
                counts["messages"] += sum(isinstance(o, Message) for o in observations)
            case execute.Succeeded(result=result) if result is not None:
                calls["succeeded"] += 1
            case execute.Failed() | execute.UnknownOutcome() | execute.Cancelled():
                calls[recorded.type.removeprefix("execute.")] += 1
            case reason.Unanswered():
                counts["unanswered"] += 1
            case feel.Inhibited():
                counts["inhibitions"] += 1
            case learn.Rewarded(ends_episode=True, success=success):
                counts["episodes"] += 1
                counts["judged"] += success is not None
                counts["successes"] += bool(success)
    tenths = [_tenths(values) for values in nats.values() if len(values) >= TENTH]
    return Summary(
        sessions=len(rows),
        hosts=hosts,
        cycles=counts["cycles"],
        episodes=counts["episodes"],
        successes=counts["successes"],
        success_rate=counts["successes"] / counts["judged"] if counts["judged"] else None,
        surprise_first_tenth=fmean(first for first, _ in tenths) if tenths else None,
        surprise_last_tenth=fmean(last for _, last in tenths) if tenths else None,
        inhibitions=counts["inhibitions"],
        messages=counts["messages"],
        calls=dict(calls),
        unanswered=counts["unanswered"],
        model_calls=counts["model_calls"],
        tokens=counts["tokens"],
        cost_usd=cost_usd,
        events=log.position() - since,
        log=log.name,
        log_bytes=log.size_bytes(),
    )


def _tenths(values: Sequence[float]) -> tuple[float, float]:
    size = len(values) // TENTH
    return fmean(values[:size]), fmean(values[-size:])
