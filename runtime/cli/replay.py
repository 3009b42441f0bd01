"""`aether replay`: does folding the record give the states that were recorded?"""

from __future__ import annotations

from typing import Annotated

import typer

from runtime.cli.output import Json, LogUrl, answer, command, reading


@command
def replay(
    session: Annotated[str, typer.Argument(help="Id of the session, as `aether session list` prints it.")],
    to: Annotated[int | None, typer.Option(metavar="VERSION", help="Stop after this version.")] = None,
    log: LogUrl = None,
    as_json: Json = False,
) -> None:
    """Fold a session's recorded events and compare with its recorded state hashes. Calls no model and no tool.

    Example: aether replay 7f3a9c01d2e4 --to 120
    """
    from runtime.errors import VerificationFailed
    from runtime.replay import replay as fold

    with reading(log) as store:
        report = fold(store, session, to=to)
        as_of = store.position()
    if as_json:
        answer([{**report.model_dump(), "agrees": report.agrees}], as_of=as_of)
        if not report.agrees:
            raise typer.Exit(VerificationFailed.exit_code)
        return
    if not report.agrees:
        raise VerificationFailed(
            f"session {report.session} differs at version {report.differs_at}: folding gives "
            f"{report.state_hash[:12]}…, the log says {(report.recorded or '')[:12]}…. "
            f"Versions before it agree. Try: aether log verify"
        )
    typer.echo(
        f"session {report.session}: {report.version} events, {report.cycles} cycles, "
        f"{report.checked} recorded state hashes agree"
    )
    if report.unreadable_from is not None:
        typer.echo(
            f"chain verified, state not checkable from cycle {report.unreadable_from}: "
            f"{report.unreadable} events cannot be read"
        )
    if report.withheld:
        typer.echo(
            f"{report.withheld} of them are withheld: their payloads did not come with the record that this log was "
            "rebuilt from. To get them: aether log rebuild --from-otlp with a record that holds what is stored"
        )
    if report.not_comparable:
        typer.echo(f"{report.not_comparable} hashes are of another reducer version and not comparable")
    if report.unknown:
        typer.echo(f"{report.unknown} events are of types that this version does not know")
    if report.unreadable_from is None:
        typer.echo(f"state {report.state_hash}")
    elif report.state_version:
        typer.echo(f"state {report.state_hash} at version {report.state_version}, the last before them")
