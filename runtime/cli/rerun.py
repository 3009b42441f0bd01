"""`aether rerun`: what would another policy have done in what is recorded?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from runtime.cli.output import Json, LogUrl, answer, command, reading, table, talk, told_of

if TYPE_CHECKING:
    from runtime.rerun.many import Watch
    from runtime.rerun.values import RerunReport, SessionRerun, Surprise

COLUMNS = ("session", "cycles", "covered", "share", "before_first")


@command
def rerun(
    sessions: Annotated[list[str] | None, typer.Argument(metavar="SESSION", help="Ids of sessions.")] = None,
    replaced: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="ORGAN=WHAT",
            help="Replace the reasoner (explore, greedy, active_inference), the heart (none) or the world_model "
            "(linear, none, a trained one's name or folder), by that or by a TOML file: a scenario, or one with the "
            "organ's table. May be given for each organ.",
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every session of the log.")] = False,
    scenario: Annotated[str | None, typer.Option(metavar="NAME", help="Every session of this scenario.")] = None,
    cycles: Annotated[int | None, typer.Option(min=1, help="Only the first so many cycles of each.")] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Ask language models, at their price, where no recorded answer is served.")
    ] = False,
    differences: Annotated[
        int, typer.Option(min=0, help="How many differing cycles of each session --json lists.")
    ] = 100,
    log: LogUrl = None,
    as_json: Json = False,
) -> None:
    """Put another policy into every recorded situation and tell where it decides otherwise.

    Recorded observations are what it sees, recorded answers are served for equal requests, and a cycle is covered
    where it decides on the recorded action. No tool and no simulator is called. Without --with the policy is the
    session's own and must cover everything.

    Example: aether rerun --scenario lava --with heart=stricter.toml
    """
    from runtime.errors import UsageError
    from runtime.models.registry.store import registry_of
    from runtime.rerun.many import chosen
    from runtime.rerun.many import rerun as compare
    from runtime.rerun.policy import read_policy
    from runtime.settings import read_settings

    if sum((bool(sessions), everything, scenario is not None)) != 1:
        raise UsageError("name the sessions to rerun, or give one of --all and --scenario NAME")
    settings = read_settings({"log": log}).settings
    policy = read_policy(
        _organs(replaced or []), live=live, models=settings.model_defaults, registry=registry_of(settings)
    )
    with reading(log) as store:
        untold: list[str] = []
        names = sessions or chosen(store, scenario=scenario, untold=untold.append)
        with _watching(len(names), quiet=as_json) as watch:
            report = compare(store, names, policy, cycles=cycles, keep=differences, watch=watch)
    if as_json:
        figures = report.model_dump(exclude={"sessions", "as_of"})
        answer([row.model_dump() for row in report.sessions], as_of=report.as_of, more={**figures, "withheld": untold})
    else:
        _print(report)
        told_of(untold)


def _organs(given: list[str]) -> dict[str, str]:
    from runtime.errors import UsageError

    organs: dict[str, str] = {}
    for one in given:
        organ, equals, what = one.partition("=")
        if not equals or not what or organ in organs:
            raise UsageError(f"--with {one}: it takes ORGAN=WHAT, each organ once, such as --with reasoner=explore")
        organs[organ] = what
    return organs


@contextmanager
def _watching(sessions: int, *, quiet: bool) -> Iterator[Watch]:
    """A bar on a terminal where there are several; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if quiet or sessions < 2 or not console.is_terminal:
        yield lambda _: None
        return
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("sessions", total=sessions)
        yield lambda _: progress.advance(task)


def _print(report: RerunReport) -> None:
    if report.sessions:
        table([_row(one) for one in report.sessions], COLUMNS)
        _first_differences(report)
        typer.echo()
        total = report.total.model_dump()
        table([total], tuple(total))
    else:
        typer.echo("There is no session to rerun.")
    if report.surprise is not None and "world_model" in report.policy:
        typer.echo(f"\n{_predicted(report.surprise)}")
    if report.left_out:
        talk(f"{len(report.left_out)} sessions are left out: a gateway watched them, and their agents run elsewhere")


def _row(one: SessionRerun) -> dict[str, object]:
    return {
        "session": one.session,
        "cycles": one.cycles,
        "covered": one.covered,
        "share": None if one.share is None else f"{one.share:.1%}",
        "before_first": one.covered_before_first,
    }


def _first_differences(report: RerunReport) -> None:
    from runtime.people.chat import clean

    differing = [one.first for one in report.sessions if one.first is not None]
    if differing:
        typer.echo("\nfirst differences")
    for first in differing:
        typer.echo(f"  cycle {first.cycle}, {first.event}: {clean(first.why)}")


def _predicted(surprise: Surprise) -> str:
    def of(nats: float | None, error: float | None) -> str:
        return "nothing" if nats is None or error is None else f"{nats:+.3f} nats a dimension, error {error:.3g}"

    recorded = of(surprise.recorded_nats, surprise.recorded_error)
    policy = of(surprise.policy_nats, surprise.policy_error)
    return f"surprise over {surprise.transitions:,} transitions: recorded {recorded}; this policy {policy}"
