"""`aether chaos`: is anything lost or done twice when a scenario's session is killed at a commit?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runtime.cli.output import Json, command, document, talk

if TYPE_CHECKING:
    from runtime.chaos.certify import Watch
    from runtime.chaos.values import Certificate, Kills, Verdict

WORDS = {
    "boundaries": "commit boundaries",
    "killed": "killed at",
    "acknowledged_lost": "acknowledged events lost",
    "effects_twice": "effects done twice",
    "effects_lost": "effects lost",
    "differs": "ended otherwise",
    "unknown": "unknown outcomes surfaced",
}
"""The certificate's totals, as the table calls them."""
SHOWN = 10
"""Findings printed; `--json` has all of them."""


@command
def chaos(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO.toml", help="Its first session is run and killed.")],
    sample: Annotated[
        int | None, typer.Option(min=1, help="Kill at this many boundaries, chosen by the seed.  [default: all]")
    ] = None,
    ray: Annotated[
        int, typer.Option(min=0, metavar="N", help="Kill N times more through a real Ray on this machine.")
    ] = 0,
    cycles: Annotated[int | None, typer.Option(min=1, help="End the session after this many cycles.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the run.  [default: the scenario's]")] = None,
    fresh: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VARIABLE",
            help="Environment variable of your tools' own file or folder; each kill gets a new path in it.",
        ),
    ] = None,
    ledger: Annotated[
        str | None,
        typer.Option(metavar="COMMAND", help="Prints a line for each effect that really happened."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Kill a scenario's session at each of its commits, take it up again, and count what was lost or done twice.

    Calls the real tools and models, once a kill. Ends with 4 unless all is zero; an unknown outcome that the session
    tells of (of an unsafe effect) is counted, and no failure. With --ray a session host with the scenario's own pools
    is killed too, started again by Ray and given its session again.

    Example: aether chaos examples/lava.toml --cycles 20 --sample 30
    """
    from runtime.chaos.certify import certify
    from runtime.errors import VerificationFailed
    from runtime.run import check_scenario
    from runtime.scenario import read_scenario
    from runtime.settings import read_settings

    settings = read_settings({}).settings
    file = read_scenario(scenario)
    check_scenario(file, settings)
    with _watching(file.scenario.name, quiet=as_json) as watch:
        certificate = certify(
            file,
            settings,
            source=str(scenario),
            watch=watch,
            sample=sample,
            ray=ray,
            cycles=cycles,
            seed=seed,
            ledger=ledger,
            fresh=fresh or (),
        )
    if as_json:
        body = certificate.model_dump()
        if certificate.ray is not None:
            body["ray"]["totals"] = certificate.ray.totals
        document({**body, "totals": certificate.totals, "clean": certificate.clean})
    else:
        _print(certificate)
    if not certificate.clean:
        raise typer.Exit(VerificationFailed.exit_code)


@contextmanager
def _watching(title: str, *, quiet: bool) -> Iterator[Watch]:
    """A bar on a terminal; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda _done, _of: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(f"{title}: undisturbed", total=None)
        yield lambda done, of: progress.update(task, description=f"{title}: kills", completed=done, total=of)


def _print(certificate: Certificate) -> None:
    whole = certificate.undisturbed
    ended = whole.status if whole.outcome is None else f"{whole.status} ({whole.outcome})"
    typer.echo(
        f"{certificate.scenario}, seed {certificate.seed}: undisturbed it ends {ended} after {whole.cycles} cycles\n"
    )
    columns: dict[str, Kills] = (
        {"": certificate} if certificate.ray is None else {"one process": certificate, "Ray": certificate.ray}
    )
    if certificate.ray is not None:
        typer.echo(f"{'':<26} {' '.join(f'{name:>11}' for name in columns)}")
    width = 5 if certificate.ray is None else 11
    for name, words in WORDS.items():
        typer.echo(f"{words:<26} {' '.join(f'{kills.totals[name]:>{width}}' for kills in columns.values())}")
    verdicts = [(where, verdict) for where, kills in columns.items() for verdict in kills.verdicts]
    missed = sum(not verdict.killed for _, verdict in verdicts)
    if missed:
        typer.echo(f"\n{missed} runs ended before their boundary came")
    found = [_finding(where, verdict, words) for where, verdict in verdicts for words in verdict.findings]
    for finding in found[:SHOWN]:
        talk(finding)
    if len(found) > SHOWN:
        talk(f"… and {len(found) - SHOWN} more; --json has all of them")


def _finding(where: str, verdict: Verdict, words: str) -> str:
    return f"boundary {verdict.boundary}{f' ({where})' if where else ''}: {words}"
