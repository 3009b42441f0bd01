"""`aether playbook …`: prompts, strategies and preferred tools, in versions that sessions are shaped by."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runtime.cli.output import Json, LogUrl, answer, command, reading, table, told_of

if TYPE_CHECKING:
    from runtime.playbooks import Version

app = typer.Typer(
    help="Add, list and show playbooks.\n\nExample: aether playbook add refunds.toml", no_args_is_help=True
)


@app.command()
@command
def add(
    file: Annotated[Path, typer.Argument(help="TOML file with name, prompt, strategies and tools.")],
    why: Annotated[str, typer.Option(help="Why it was written, for those who read it later.")] = "",
    log: LogUrl = None,
    as_json: Json = False,
) -> None:
    """Lay down a version of a playbook, which becomes the newest of its name. The newest again is not written.

    Example: aether playbook add refunds.toml --why "asks for the order first"
    """
    from runtime.playbooks import lay_down, newest_event, read_playbook, version
    from runtime.settings import log_url, read_settings

    playbook = read_playbook(file)
    url = log_url(read_settings({"log": log}).settings)
    before = newest_event(url, playbook.name)
    event = lay_down(url, playbook, why=why)
    if not as_json:
        typer.echo(playbook.id)
        return
    with reading(log) as store:
        answer([_row(version(store, playbook.id))], as_of=store.position(), more={"new": event != before})


@app.command("list")
@command
def list_playbooks(
    limit: Annotated[int, typer.Option(min=1, help="Rows on a page.")] = 100,
    after: Annotated[str, typer.Option(metavar="NAME", help="Begin after this playbook.")] = "",
    log: LogUrl = None,
    as_json: Json = False,
) -> None:
    """List the newest version of each playbook in the order of their names.

    Example: aether playbook list --limit 20
    """
    from runtime.playbooks import page

    untold: list[str] = []
    with reading(log) as store:
        rows, following = page(store, after=after, limit=limit, untold=untold.append)
        as_of = store.position()
    told_of(untold, what="playbooks or models")
    shown = [_row(row) for row in rows]
    if as_json:
        answer(shown, as_of=as_of, next_after=following)
        return
    table(shown, ("playbook", "written", "previous", "why"))
    if following is not None:
        typer.echo(f"\nMore: aether playbook list --after {following}")


@app.command()
@command
def show(
    playbook: Annotated[str, typer.Argument(metavar="NAME[@DIGEST]", help="The newest version, or that one.")],
    log: LogUrl = None,
    as_json: Json = False,
) -> None:
    """Show what a playbook says, and the versions there are of it, newest first.

    Example: aether playbook show refunds
    """
    from runtime.playbooks import version, versions

    with reading(log) as store:
        found = version(store, playbook)
        there = [each.playbook.id for each in versions(store, found.playbook.name)]
        as_of = store.position()
    row = _row(found) | {
        "prompt": found.playbook.prompt,
        "strategies": list(found.playbook.strategies),
        "tools": list(found.playbook.tools),
        "versions": there,
    }
    if as_json:
        answer([row], as_of=as_of)
        return
    for name, value in row.items():
        if isinstance(value, list):
            typer.echo(name)
            for item in value:
                typer.echo(f"  {item}")
        elif value:
            typer.echo(f"{name:<10} {value}")


def _row(version: Version) -> dict[str, object]:
    return {
        "playbook": version.playbook.id,
        "written": datetime.fromtimestamp(version.at // 10**9, UTC).isoformat(),
        "event": version.event,
        "previous": version.previous,
        "why": version.why,
    }
