"""`aether train …`: from what sessions recorded to a model that others act on."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from runtime.cli.output import Json, LogUrl, answer, command, reading, talk

if TYPE_CHECKING:
    from rich.progress import Progress

    from loops.lessons import Source
    from runtime.models.learnt import Learnt
    from runtime.models.training import Made, Order, Told, Watch

app = typer.Typer(
    help="Train models on what sessions recorded.\n\nExample: aether train world-model maze --scenario maze",
    no_args_is_help=True,
)

SHOWN_EVERY_S = 0.1


class Kind(StrEnum):
    JEPA = "jepa"
    LINEAR = "linear"


@app.callback()
def train() -> None:
    """Keeps `world-model` a command of its own while there is no other."""


@app.command("world-model")
@command
def world_model(
    name: Annotated[str, typer.Argument(help="Name of the model; what was trained under it before is kept.")],
    sessions: Annotated[
        list[str] | None,
        typer.Argument(metavar="SESSION", help="Ids of sessions to learn from.  [default: all, of one world]"),
    ] = None,
    scenario: Annotated[str | None, typer.Option(metavar="NAME", help="Every session of this scenario.")] = None,
    where: Annotated[
        str | None,
        typer.Option(
            metavar="SQL",
            help="Only sessions of which this is true: an expression over session, scenario, environment, seed, "
            "status, outcome, cycles, opened_at (UTC), episodes, successes and reward, which is a session's sum.",
        ),
    ] = None,
    kind: Annotated[
        Kind | None,
        typer.Option(
            help="A joint-embedding predictive model, or a linear one.  [default: linear where the world declares a "
            "goal and none of --steps, --seconds and --history is given, else jepa]"
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of the optimiser.  [default: the configuration's own]")
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Train for so long, instead of --steps.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the weights, the batches and what is held out.")] = 0,
    history: Annotated[
        int | None,
        typer.Option(min=1, help="Observations that a belief rests on: more than 1 where one does not show all."),
    ] = None,
    log: LogUrl = None,
    as_json: Json = False,
) -> None:
    """Learn a world model from the moves of sessions, and judge it by sessions that it never saw.

    Where a world declares a goal, as the mazes do, a linear model with its map acts as well as a jepa and is learnt in
    seconds; where none is declared, a jepa is what finds one.

    The model lies in $AETHER_HOME/models, its map of landmarks with it; the log says that it was trained, on what, and
    how well it foresees against a copy and a linear model. Ctrl-C keeps the best so far.

    Evaluations are never learnt from, nor are sessions whose person withdrew consent or was erased; the model says how
    many were left out, and why.

    Example: aether train world-model maze --where "scenario = 'maze' and successes > 0"
    """
    from runtime.models.entry import enter
    from runtime.models.sources import sources
    from runtime.models.store import check_name, registry_of
    from runtime.settings import log_url, read_settings

    check_name(name)
    _check(kind, steps=steps, seconds=seconds, history=history)
    settings = read_settings({"log": log}).settings
    with reading(log) as store:
        chosen = sources(store, sessions or (), scenario=scenario, where=where)
        from runtime.models.training import Order  # loads torch, which a mistake before here need not wait for
        from runtime.models.training import train as fit
        from world_model.jepa.config import JepaConfig

        config = JepaConfig() if history is None else JepaConfig(history=history)
        kind = kind or _fitting(chosen, asked=bool(steps or seconds or history))
        order = Order(name=name, kind=kind.value, config=config, steps=steps, seconds=seconds, seed=seed, where=where)
        with _watching(order, len(chosen), quiet=as_json) as watch:
            made = fit(store, chosen, order, registry=registry_of(settings), watch=watch)
    event = enter(log_url(settings), made.learnt.event, refs=made.ends, run=f"{made.kept.digest}.{made.learnt.at}")
    _finish(made, event, log=log, as_json=as_json)


def _check(kind: Kind | None, *, steps: int | None, seconds: float | None, history: int | None) -> None:
    from runtime.errors import UsageError

    if steps is not None and seconds is not None:
        raise UsageError("give --steps or --seconds, not both. Nothing was learnt")
    if kind is Kind.LINEAR and (steps or seconds or history):
        raise UsageError(
            "a linear model takes every transition once and believes what it sees: --steps, --seconds and --history "
            "are of the jepa. Nothing was learnt"
        )


def _fitting(chosen: Sequence[Source], *, asked: bool) -> Kind:
    """What is learnt where nobody says; `asked`: for what only a jepa has."""
    layout = chosen[0].layout
    return Kind.LINEAR if layout is not None and layout.goal and not asked else Kind.JEPA


@contextmanager
def _watching(order: Order, sessions: int, *, quiet: bool) -> Iterator[Watch]:
    """A bar on a terminal, nothing elsewhere. Ctrl-C ends a training that has begun; once more, and at any other time,
    it ends the command."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from runtime.models.training import Watch

    console = Console(stderr=True)
    shown = not quiet and console.is_terminal
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not shown) as progress:
        bar = _Bar(order, progress, sessions)
        with _interruptible(bar):
            yield Watch(read=bar.read, told=bar.told, stop=lambda: bar.stopping)


class _Bar:
    """One line: sessions as they are read, then the training by its steps or its time."""

    def __init__(self, order: Order, progress: Progress, sessions: int) -> None:
        self._order = order
        self._progress = progress
        self._task = progress.add_task("sessions", total=sessions, said="")
        self._transitions = 0
        self._shown = 0.0
        self.began: float | None = None
        self.stopping = False

    def read(self, transitions: int) -> None:
        self._transitions += transitions
        self._progress.update(self._task, advance=1, said=f"{self._transitions:,} transitions")

    def told(self, told: Told) -> None:
        now = time.monotonic()
        if self.began is None:
            self.began = now
            total = self._order.seconds or told.of or None
            self._progress.reset(self._task, description=f"training {self._order.name}", total=total)
        if now - self._shown < SHOWN_EVERY_S:
            return
        self._shown = now
        done = told.step if self._order.seconds is None else now - self.began
        looked = told.looked
        missed = "" if looked is None else f" · loss {looked.loss:.2f} · misses {looked.held_out:.0%} of what changes"
        self._progress.update(self._task, completed=done, said=f"{told.step:,} steps{missed}")


@contextmanager
def _interruptible(bar: _Bar) -> Iterator[None]:
    def interrupt(number: int, frame: FrameType | None) -> None:
        if bar.began is None or bar.stopping:
            signal.default_int_handler(number, frame)
        bar.stopping = True
        talk("aether: stopping; the best model so far is kept. Ctrl-C again drops it")

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _finish(made: Made, event: str, *, log: str | None, as_json: bool) -> None:
    """Prints what came of it and ends with its exit code."""
    from runtime.errors import FAILED, INTERRUPTED

    learnt, failure = made.learnt, made.failure
    if as_json:
        with reading(log) as store:
            row = {**learnt.model_dump(mode="json"), "folder": str(made.kept.folder), "latest": made.kept.latest}
            more: dict[str, object] = {"event": event}
            if failure is not None:
                more["error"] = {"type": type(failure).__name__, "message": str(failure), "exit_code": FAILED}
            answer([row], as_of=store.position(), more=more)
    else:
        for line in summary(learnt):
            typer.echo(line)
        typer.echo(f"\nNext: aether model show {learnt.model if failure else made.kept.name} --plot")
    if failure is not None:
        if not as_json:
            talk(f"aether: {failure}\nIts last good model is kept as {learnt.model} and is not the latest")
        raise typer.Exit(FAILED)
    if learnt.stopped is not None:
        talk(f"aether: interrupted; the best model so far is kept as {learnt.model}")
        raise typer.Exit(INTERRUPTED)


def summary(learnt: Learnt) -> Iterator[str]:
    """What a model was learnt from and how well it foresees, in lines for people."""
    found = learnt.metrics
    worlds = ", ".join(learnt.environments)
    yield f"{learnt.model}  {learnt.kind}, seed {learnt.seed}"
    yield (
        f"learnt from   {learnt.transitions - learnt.held_out:,} transitions of {len(learnt.sessions)} sessions of "
        f"{', '.join(learnt.scenarios)} ({worlds})"
    )
    if learnt.where is not None:
        yield f"chosen by     {learnt.where}"
    if learnt.excluded:
        yield f"withheld      {', '.join(f'{count:,} sessions: {why}' for why, count in learnt.excluded.items())}"
    if learnt.unreadable:
        yield f"left out      {learnt.unreadable:,} events that cannot be read, with the transitions around them"
    yield f"judged by     {learnt.held_out:,} transitions that it never saw, {found['horizon']:.0f} decisions ahead"
    beside = "" if learnt.kind == "linear" else f", {found['error_over_linear']:.2f} of the linear model's"
    yield f"error         {found['error']:.3g}: {found['error_over_copy']:.2f} of a copy's{beside}"
    yield f"disagreement  {found['disagreement_spearman']:+.2f} rank correlation with the error"
    linear = "" if learnt.kind == "linear" else f"; linear {found['nats_linear']:+.2f}"
    yield f"surprise      {found['nats']:+.2f} nats a dimension one decision ahead{linear}"
    yield f"rank          {found['effective_rank']:.1f} of beliefs, {found['effective_rank_seen']:.1f} of observations"
    done = f"{found['steps']:,.0f} " + ("transitions" if learnt.kind == "linear" else "steps")
    took = found.get("elapsed_s")
    yield f"training      {done}" + ("" if took is None else " in less than 1 s" if took < 1 else f" in {took:.0f} s")
