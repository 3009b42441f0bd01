"""`aether model evaluate`: a candidate against what stands, on paired sessions, look after look."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self

import typer

from runtime.cli.output import Json, LogUrl, answer, command, reading, table, talk

if TYPE_CHECKING:
    from rich.console import Group

    from runtime.hosting.orders import RunStatus
    from runtime.learning.judging.evaluate import Evaluation, Look
    from runtime.learning.judging.trial import Trial
    from runtime.learning.judging.verdict import Decision
    from runtime.scenario import ScenarioFile
    from runtime.settings import Settings
    from telemetry.events.values import EventId, ModelId

COLUMNS = ("pairs", "success", "steps", "fewer", "at least", "verdict")
WORDS = {"promote": "better", "reject": "not better", "go_on": "open"}


@command
def evaluate(
    model: Annotated[
        str,
        typer.Argument(metavar="NAME[@DIGEST]", help="The candidate: the latest of the name, or that."),
    ],
    scenario: Annotated[Path, typer.Option(metavar="FILE", help="What the sessions are run with.")],
    against: Annotated[
        str | None,
        typer.Option(
            metavar="ID|base",
            help="The incumbent: a model, or base for what the scenario does by itself.  [default: what stands]",
        ),
    ] = None,
    pairs: Annotated[
        int | None, typer.Option(min=1, help="Stop after the look at so many pairs; going on later costs nothing.")
    ] = None,
    promote: Annotated[
        bool, typer.Option("--promote", help="Enter the verdict: promoted or rejected. Without it, only the looks are.")
    ] = False,
    log: LogUrl = None,
    as_json: Json = False,
) -> None:
    """Judge a model by pairs of sessions that begin alike, in which it acts and in which what stands does.

    It is better if it foresees no worse than the incumbent by more than 5 %, needs fewer steps to the goal, failures
    counted at the budget, and succeeds no less by more than .05. It is looked at after 40, 80 and 160 pairs, or as the
    scenario says under [learning], and all looks together call one better that is not in 5 of 100 trials at most.

    Ctrl-C leaves what ran on the log; the same command goes on.

    Example: aether model evaluate maze --scenario examples/maze.toml --promote
    """
    from runtime.errors import INTERRUPTED
    from runtime.learning.fleet import Fleet
    from runtime.learning.judging.evaluate import design_of, looks_up_to
    from runtime.learning.judging.evaluate import evaluate as judged
    from runtime.learning.judging.promotion import settle
    from runtime.models.registry.store import registry_of
    from runtime.run import check_scenario
    from runtime.scenario import read_scenario
    from runtime.settings import read_settings

    settings = read_settings({"log": log}).settings
    file = read_scenario(scenario)
    trial = _trial(settings, file, model, against, source=str(scenario))
    looks = looks_up_to(design_of(trial), pairs)
    trial.budget()
    check_scenario(file, settings)
    registry = registry_of(settings)
    try:
        with _Shown(trial, looks, quiet=as_json) as shown, Fleet(settings) as fleet:
            found = judged(
                trial,
                url=fleet.url,
                registry=registry,
                run=lambda orders: fleet.run(orders, watch=shown.watch),
                most=pairs,
                told=shown.looked,
            )
            event = settle(trial, found, url=fleet.url, registry=registry) if promote else None
    except KeyboardInterrupt:
        talk("aether: interrupted; what ran is on the log, and the same command goes on with what is left")
        raise typer.Exit(INTERRUPTED) from None
    _finish(trial, found, event, promote=promote, log=log, as_json=as_json)


def _trial(settings: Settings, file: ScenarioFile, model: str, against: str | None, *, source: str) -> Trial:
    """Who against whom. Raises `NotFound` for models that are not there, `UsageError` where both are the same."""
    from runtime.learning.judging.trial import Trial
    from runtime.models.registry.store import find, kept, registry_of
    from runtime.models.standing import base_id

    registry = registry_of(settings)
    latest = [one.model for one in kept(registry, model) if one.latest] if "@" not in model and "/" not in model else []
    candidate = latest[0] if latest else find(registry, model).model
    if against is None:
        incumbent = _stands(settings, file, candidate)
    else:
        incumbent = base_id(file) if against in ("base", base_id(file)) else find(registry, against).model
    return Trial(file, candidate=candidate, incumbent=incumbent, source=source)


def _stands(settings: Settings, file: ScenarioFile, candidate: ModelId) -> ModelId:
    """Of the candidate's name, as the log says; what the scenario does by itself where it says nothing."""
    from runtime.models.standing import base_id, incumbent
    from runtime.settings import log_url
    from telemetry.errors import LogNotFound

    try:
        with reading(log_url(settings)) as store:
            return incumbent(store, candidate.partition("@")[0], file)
    except LogNotFound:
        return base_id(file)


def _row(look: Look) -> dict[str, object]:
    """A look in words."""
    found = look.judgement.figures
    return {
        "pairs": f"{found['pairs']:.0f}",
        "success": f"{found['success_before']:.2f} → {found['success']:.2f}",
        "steps": f"{found['steps_before']:.1f} → {found['steps']:.1f}",
        "fewer": f"{found['gain']:.1f}",
        "at least": f"{found['gain_bound']:.1f} ({1 - found['level']:.1%})",
        "verdict": WORDS[look.judgement.decision],
    }


class _Shown:
    """On a terminal the looks so far and a bar of the sessions toward the next; nothing elsewhere. Meanwhile what
    others print to stdout goes to stderr."""

    def __init__(self, trial: Trial, looks: Sequence[int], *, quiet: bool) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console)
        self._task = self._progress.add_task("starting Ray…", total=None)
        self._title = f"{trial.candidate} against {trial.incumbent}"
        self._looks = list(looks)
        self._done: list[Look] = []
        self._live = Live(self._drawn(), console=console, transient=True)
        self._shown = not quiet and console.is_terminal
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(redirect_stdout(sys.stderr))
        if self._shown:
            self._stack.enter_context(self._live)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def watch(self, status: RunStatus) -> None:
        ended = status.sessions - status.running
        toward = next((look for look in self._looks if look > (self._done[-1].pairs if self._done else 0)), 0)
        words = f"sessions toward {toward} pairs"
        self._progress.update(self._task, description=words, completed=ended, total=status.sessions)

    def looked(self, look: Look) -> None:
        self._done.append(look)
        self._live.update(self._drawn())

    def _drawn(self) -> Group:
        from rich.console import Group
        from rich.table import Table

        shown = Table(title=self._title, box=None, pad_edge=False, header_style="bold", title_justify="left")
        for column in COLUMNS:
            shown.add_column(column, no_wrap=True)
        for look in self._done:
            shown.add_row(*map(str, _row(look).values()))
        return Group(shown, self._progress)


def _finish(
    trial: Trial, found: Evaluation, event: EventId | None, *, promote: bool, log: str | None, as_json: bool
) -> None:
    judgement = found.judgement
    if as_json:
        rows = [
            {"look": look.pairs, "decision": look.judgement.decision, "why": look.judgement.why, "event": look.event}
            | dict(look.judgement.figures)
            for look in found.looks
        ]
        more = {
            "candidate": trial.candidate,
            "incumbent": trial.incumbent,
            "decision": judgement.decision,
            "why": judgement.why,
            "event": event,
        }
        with reading(log) as store:
            answer(rows, as_of=store.position(), more=more)
        return
    typer.echo(f"{trial.candidate} against {trial.incumbent} in {trial.file.scenario.name}\n")
    if found.looks:
        table([_row(look) for look in found.looks], COLUMNS)
        typer.echo()
    typer.echo(f"{judgement.why}")
    typer.echo(_said(trial, judgement.decision, event, promote=promote))


def _said(trial: Trial, decision: Decision, event: EventId | None, *, promote: bool) -> str:
    """What follows, and what to do next."""
    if decision == "go_on":
        return "Nothing is decided yet. Go on with the same command and more --pairs"
    if promote:
        done = f"promoted in place of {trial.incumbent}" if decision == "promote" else "rejected"
        return f"{trial.candidate} is {done}: {event}"
    would = "promote it" if decision == "promote" else "reject it"
    return (
        f"The rule would {would}; nothing stands otherwise than before. To enter that: the same command with --promote"
    )
