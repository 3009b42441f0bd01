"""`aether session …`: which sessions there are, what they did, what they ask, and going on with them."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from runtime.cli.effects import effects, reconcile
from runtime.cli.events import event_line, event_row
from runtime.cli.output import Json, LogUrl, answer, command, document, reading, table, talk, told_of
from runtime.cli.run import Address, finish, watching

if TYPE_CHECKING:
    from telemetry.events import Recorded, execute
    from telemetry.log import EventLog

app = typer.Typer(
    help="List, show, follow, answer, fork and resume sessions.\n\nExample: aether session list --limit 20",
    no_args_is_help=True,
)

SessionId = Annotated[str, typer.Argument(help="Id of the session, as `aether session list` prints it.")]


class Standing(StrEnum):
    """How a session stands, as the log tells it; an option takes a list of these, and of no literals."""

    OPEN = "open"
    SUSPENDED = "suspended"
    WAITING = "waiting"
    CLOSED = "closed"


POLL_S = 0.2
COLUMNS = ("session", "status", "scenario", "outcome", "cycles", "version", "state_hash")


@app.command("list")
@command
def list_sessions(
    limit: Annotated[int, typer.Option(min=1, help="Rows on a page.")] = 100,
    after: Annotated[str, typer.Option(metavar="SESSION", help="Begin after this session.")] = "",
    status: Annotated[
        list[Standing] | None,
        typer.Option(metavar="STATUS", help="Only open, suspended, waiting or closed ones; may be given again."),
    ] = None,
    scenario: Annotated[str | None, typer.Option(metavar="NAME", help="Only sessions of this scenario.")] = None,
    newest: Annotated[bool, typer.Option("--newest", help="The newest first, instead of by id.")] = False,
    log: LogUrl = None,
    as_json: Json = False,
) -> None:
    """List the sessions of a log in the order of their ids, or the newest first.

    Example: aether session list --status waiting --newest --limit 20
    """
    from runtime.ledger import ledger

    wanted = [standing.value for standing in status or ()]
    with reading(log) as store, ledger(store) as found:
        page, following = found.page(after=after, limit=limit, status=wanted, scenario=scenario, newest=newest)
        as_of = found.as_of
    shown = [row.model_dump() for row in page]
    if as_json:
        answer(shown, as_of=as_of, next_after=following)
        return
    table(shown, COLUMNS)
    if following is not None:
        chosen = [f"--status {name}" for name in wanted]
        chosen += [f"--scenario {shlex.quote(scenario)}"] if scenario is not None else []
        chosen += ["--newest"] if newest else []
        typer.echo(f"\nMore: {' '.join(('aether session list', *chosen, '--after', following))}")


@app.command()
@command
def show(session: SessionId, log: LogUrl = None, as_json: Json = False) -> None:
    """Show what a session was run with, how it stands, what it asks, and how many events of each type it has.

    Example: aether session show 7f3a9c01d2e4
    """
    from runtime.effects import unknown
    from runtime.models.using import pinned_by
    from runtime.people.approvals import open_question
    from runtime.people.chat import clean
    from runtime.sessions import opened, row_of, stream_of

    with reading(log) as store:
        stream = stream_of(session)
        first = opened(store, stream)
        head = store.head(stream)
        assert head is not None, "a session with a first event has a head"
        row = row_of(store, head).model_dump()
        counts = Counter(recorded.type for recorded in store.read(stream))
        asked = open_question(store, stream)
        model = pinned_by(store, stream)
        doubted = len(unknown(store, stream))
        as_of = store.position()
    row |= {
        "person": first.person,
        "environment": first.environment,
        "seed": first.seed,
        "purpose": first.purpose,
        "acts_by": model,
        "versions": first.versions,
        "events": counts,
        "unknown_effects": doubted,
        "question": None if asked is None else _question(asked),
    }
    if as_json:
        answer([row], as_of=as_of)
        return
    for name, value in row.items():
        if isinstance(value, dict):
            typer.echo(name)
            for key, inner in sorted(value.items()):
                typer.echo(f"  {key:<28} {clean(str(inner))}")
        elif value is not None:
            typer.echo(f"{name:<14} {clean(str(value))}")
    if asked is not None:
        effect = asked.effect[:12]
        typer.echo(f"\nNext: aether session approve {row['session']} {effect}")
        typer.echo(f"      aether session deny {row['session']} {effect} --why '…'")
    if doubted:
        typer.echo(f"\nUnknown effects: {doubted}. Next: aether session effects {row['session']}")


def _question(asked: execute.ApprovalAsked) -> dict[str, object]:
    from runtime.people.approvals import moment
    from runtime.why import told

    return {
        "asks": told(asked.action),
        "why": asked.why,
        "effect": asked.effect,
        "until": "an answer comes" if asked.until is None else moment(asked.until),
    }


Effect = Annotated[str, typer.Argument(help="The effect, or its first digits, as `aether session show` prints it.")]
Reason = Annotated[str, typer.Option("--why", help="Why, for the agent and the record.")]


@app.command()
@command
def approve(session: SessionId, effect: Effect, why: Reason = "", log: LogUrl = None, as_json: Json = False) -> None:
    """Allow what a session asks leave for. Its live host goes on at once; without one the answer waits on the log.

    Example: aether session approve 7f3a9c01d2e4 9b41c07e
    """
    _settle(session, effect, granted=True, why=why, log=log, as_json=as_json)


@app.command()
@command
def deny(session: SessionId, effect: Effect, why: Reason = "", log: LogUrl = None, as_json: Json = False) -> None:
    """Refuse what a session asks leave for; the agent is told so, and why.

    Example: aether session deny 7f3a9c01d2e4 9b41c07e --why "not this client"
    """
    _settle(session, effect, granted=False, why=why, log=log, as_json=as_json)


def _settle(session: str, effect: str, *, granted: bool, why: str, log: str | None, as_json: bool) -> None:
    from runtime.people.approvals import answer as settle
    from runtime.people.approvals import whoami
    from runtime.people.mailbox import Mailbox
    from runtime.sessions import PREFIX
    from runtime.settings import log_url, read_settings

    url = log_url(read_settings({"log": log}).settings)
    by = whoami()
    event = settle(url, session, effect, granted=granted, by=by, why=why)
    live = Mailbox(url).anybody()
    if as_json:
        with reading(log) as store:
            row = {"event": event, "granted": granted, "by": by, "why": why, "live": live}
            answer([row], as_of=store.position())
        return
    typer.echo(f"{'allowed' if granted else 'refused'} by {by}: {event}")
    if not live:
        talk(f"No host runs it now. Go on with: aether session resume {session.removeprefix(PREFIX)}")


app.command()(effects)
app.command()(reconcile)


@app.command()
@command
def fork(
    session: SessionId,
    at: Annotated[int, typer.Option(min=1, metavar="VERSION", help="The version of a closed cycle to cut at.")],
    log: LogUrl = None,
    as_json: Json = False,
) -> None:
    """Begin a new session that shares a session's events up to a closed cycle. What tools did since is not undone.

    Example: aether session fork 7f3a9c01d2e4 --at 120
    """
    from runtime.fork import fork_in
    from runtime.settings import log_url, read_settings

    new = fork_in(log_url(read_settings({"log": log}).settings), session, at=at)
    if as_json:
        with reading(log) as store:
            answer([{"session": new, "parent": session, "at": at}], as_of=store.position())
        return
    typer.echo(f"session {new} begins as {session} at version {at}")
    talk(f"Go on with: aether session resume {new}")


@app.command()
@command
def tail(
    session: SessionId,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the last events.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the session closes.")] = False,
    log: LogUrl = None,
    as_json: Json = False,
) -> None:
    """Print a session's last events, one a line; with --follow the next ones as they come.

    Example: aether session tail 7f3a9c01d2e4 -n 5 --follow
    """
    from runtime.sessions import check_there, stream_of

    with reading(log) as store:
        stream = stream_of(session)
        check_there(store, stream)
        head = store.head(stream)
        assert head is not None, "a session with a first event has a head"
        after = max(0, head.version - lines)
        if as_json and not follow:
            answer([event_row(r) for r in store.read(stream, after=after)], as_of=store.position())
            return
        for recorded in _events(store, stream, after, follow=follow):
            if as_json:
                document(event_row(recorded))
            else:
                typer.echo(event_line(recorded))


def _events(store: EventLog, stream: str, after: int, *, follow: bool) -> Iterator[Recorded]:
    while True:
        for recorded in store.read(stream, after=after):
            after = recorded.version
            yield recorded
            if recorded.type == "session.closed":
                return
        if not follow:
            return
        time.sleep(POLL_S)


@app.command()
@command
def resume(
    sessions: Annotated[list[str] | None, typer.Argument(metavar="[SESSION]...", help="Ids of sessions.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every session that is not closed.")] = False,
    log: LogUrl = None,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Go on with sessions that were suspended or cut off: each is verified, folded and settled first.

    Example: aether session resume 7f3a9c01d2e4
    """
    from runtime.errors import UsageError
    from runtime.run import at_work, resume_orders, run_orders
    from runtime.settings import read_settings

    if bool(sessions) == everything:
        raise UsageError("name the sessions to resume, or give --all; nothing was resumed")
    with reading(log) as store:
        untold: list[str] = []
        orders = resume_orders(store, sessions or [], untold=untold.append)
        busy = at_work(store, [order.session for order in orders]) if everything else set()
        as_of = store.position()
    orders = [order for order in orders if order.session not in busy]
    told_of(untold)
    if busy:
        talk(f"{len(busy)} sessions are at work at living hosts and were left there; one that is named is taken over")
    if not orders:
        if as_json:
            answer([], as_of=as_of)
        else:
            others = "Every other" if busy or untold else "Every"
            typer.echo(f"{others} session of this log is closed; there is nothing to resume.")
        return
    settings = read_settings({"log": log, "address": address}).settings
    with watching("resume", quiet=as_json) as watch:
        result = run_orders(settings, orders, watch=watch, said=talk)
    finish(result, as_json=as_json)
