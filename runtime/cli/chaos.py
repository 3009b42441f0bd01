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
    from runtime.chaos.values import Certificate

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
    tells of (of an unsafe effect) is counted, and no failure.

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
            cycles=cycles,
            seed=seed,
            ledger=ledger,
            fresh=fresh or (),
        )
    if as_json:
        document({**certificate.model_dump(), "totals": certificate.totals, "clean": certificate.clean})
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
    whole, totals = certificate.undisturbed, certificate.totals
    ended = whole.status if whole.outcome is None else f"{whole.status} ({whole.outcome})"
    typer.echo(
        f"{certificate.scenario}, seed {certificate.seed}: undisturbed it ends {ended} after {whole.cycles} cycles\n"
    )
    for name, words in WORDS.items():
        typer.echo(f"{words:<26} {totals[name]:>5}")
    missed = len(certificate.verdicts) - totals["killed"]
    if missed:
        typer.echo(f"\n{missed} runs ended before their boundary came")
    found = [f"boundary {v.boundary}: {finding}" for v in certificate.verdicts for finding in v.findings]
    for finding in found[:SHOWN]:
        talk(finding)
    if len(found) > SHOWN:
        talk(f"… and {len(found) - SHOWN} more; --json has all of them")
