"""`aether session effects` and `reconcile`: what became of what sessions did, and settling what nobody saw.

Knows words and options; what they do lies in `runtime.effects`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from runtime.cli.output import Json, LogUrl, answer, command, reading, table, talk

if TYPE_CHECKING:
    from runtime.effects import EffectRow

COLUMNS = ("session", "effect", "cycle", "ordinal", "what", "class", "stands", "when")
WHAT_CHARACTERS = 80
"""Of what an effect is, in a table; --json has the whole."""


@command
def effects(
    session: Annotated[
        str | None, typer.Argument(help="Id of a session; every session of the log without one.", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those whose outcome is known or under way.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Sessions with such effects on a page, where none is named.")] = 100,
    after: Annotated[str, typer.Option(metavar="SESSION", help="Begin after this session.")] = "",
    log: LogUrl = None,
    as_json: Json = False,
) -> None:
    """List the effects of which nobody knows whether they happened.

    Example: aether session effects 7f3a9c01d2e4 --all
    """
    from runtime.effects import effects as all_effects
    from runtime.effects import unknown, unknown_anywhere
    from runtime.errors import UsageError

    if session is None and everything:
        raise UsageError("--all is for one session; name it: aether session effects SESSION --all")
    with reading(log) as store:
        following: str | None = None
        if session is None:
            rows, following = unknown_anywhere(store, after=after, limit=limit)
        else:
            rows = list(all_effects(store, session)) if everything else unknown(store, session)
        as_of = store.position()
    if as_json:
        answer([_whole(row) for row in rows], as_of=as_of, next_after=following)
        return
    if rows:
        table([_cells(row) for row in rows], COLUMNS)
    else:
        typer.echo("No effect." if everything else "No effect is unknown.")
    if following is not None:
        typer.echo(f"\nMore: aether session effects --after {following}")
    doubted = next((row for row in rows if row.stands == "unknown"), None)
    if doubted is not None:
        settling = f"aether session reconcile {doubted.session} {doubted.effect[:12]}"
        talk(f"\nNext: {settling} --happened --why '…'")
        talk(f"      {settling} --did-not-happen --why '…'")


@command
def reconcile(
    session: Annotated[str, typer.Argument(help="Id of the session, as `aether session list` prints it.")],
    effect: Annotated[
        str, typer.Argument(help="The effect, or its first digits, as `aether session effects` prints it.")
    ],
    happened: Annotated[
        bool, typer.Option("--happened/--did-not-happen", help="What you found out.", show_default=False)
    ],
    why: Annotated[str, typer.Option("--why", help="How you know, for the agent and the record.")] = "",
    result: Annotated[
        str | None, typer.Option("--result", metavar="JSON", help="What the call answered, where it happened.")
    ] = None,
    log: LogUrl = None,
    as_json: Json = False,
) -> None:
    """Settle an effect whose outcome is unknown: say what became of it. The agent is told at its next cycle.

    Example: aether session reconcile 7f3a9c01d2e4 9b41c07e55d0 --happened --why "it is on the statement"
    """
    from runtime.effects import reconcile as settle
    from runtime.people.approvals import whoami
    from runtime.settings import log_url, read_settings

    by = whoami()
    url = log_url(read_settings({"log": log}).settings)
    event = settle(url, session, effect, happened=happened, by=by, why=why, result=result)
    if as_json:
        with reading(log) as store:
            answer([{"event": event, "happened": happened, "by": by, "why": why}], as_of=store.position())
        return
    typer.echo(f"{'happened' if happened else 'did not happen'}, says {by}: {event}")


def _cells(row: EffectRow) -> dict[str, object]:
    from runtime.people.approvals import moment
    from runtime.people.chat import clean

    what = clean(row.what)
    return {
        "session": row.session,
        "effect": row.effect[:12],
        "cycle": row.cycle,
        "ordinal": row.ordinal,
        "what": what if len(what) <= WHAT_CHARACTERS else f"{what[:WHAT_CHARACTERS]}…",
        "class": row.effect_class,
        "stands": row.stands,
        "when": moment(row.at),
    }


def _whole(row: EffectRow) -> dict[str, object]:
    return {
        **row.model_dump(mode="json", exclude={"action", "effect_class"}),
        "what": row.what,
        "class": row.effect_class,
    }
