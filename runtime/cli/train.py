"""`aether train …`: from what sessions recorded to a model that others act on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from runtime.cli.output import Json, LogUrl, answer, command, reading, talk, told_of
from runtime.cli.run import Address
from runtime.cli.training_bar import watching

if TYPE_CHECKING:
    from loops.lessons import Source
    from runtime.models.learnt import Learnt
    from runtime.models.training.train import Made
    from runtime.settings import Settings

app = typer.Typer(
    help="Train models on what sessions recorded.\n\nExample: aether train world-model maze --scenario maze",
    no_args_is_help=True,
)


class Kind(StrEnum):
    JEPA = "jepa"
    LINEAR = "linear"


@app.callback()
def train() -> None:
    """Keeps `world-model` a command of its own while there is no other."""


@app.command("world-model")
@command
def world_model(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Name of the model; what was trained under it before is kept.  [default: the scenario's name]"
        ),
    ] = None,
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
            "goal and nothing is given that only a jepa has, else jepa]"
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of the optimiser.  [default: the configuration's own]")
    ] = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Train for so long, instead of --steps.")] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Of the weights, the batches, and which sessions say when to stop.")
    ] = 0,
    history: Annotated[
        int | None,
        typer.Option(min=1, help="Observations that a belief rests on: more than 1 where one does not show all."),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes on Ray that share each step, with a CPU each.  [default: 1]"),
    ] = None,
    gpu: Annotated[bool, typer.Option("--gpu", help="With a GPU for each worker.")] = False,
    address: Address = None,
    log: LogUrl = None,
    as_json: Json = False,
) -> None:
    """Learn a world model from the moves of sessions, and judge it by sessions that it never saw.

    Where a world declares a goal, as the mazes do, a linear model with its map acts as well as a jepa and is learnt in
    seconds; where none is declared, a jepa is what finds one.

    The model lies in $AETHER_HOME/models, its map of landmarks with it; the log says that it was trained, on what, and
    how well it foresees against a copy and a linear model. Ctrl-C keeps the best so far.

    A jepa is trained on Ray. A training that was cut off goes on where it was when the same is ordered again over the
    same sessions. Its looks at held-out sessions are on the log as they come, and go out as OpenTelemetry metrics where
    OTEL_METRICS_EXPORTER says so.

    Evaluations are never learnt from, nor are sessions whose person withdrew consent or was erased; the model says how
    many were left out, and why.

    Example: aether train world-model maze --where "scenario = 'maze' and successes > 0"
    """
    from runtime.models.registry.store import check_name, registry_of
    from runtime.settings import log_url, read_settings

    if name is not None:
        check_name(name)
    _check(kind, steps=steps, seconds=seconds, history=history, workers=workers, gpu=gpu)
    settings = read_settings({"log": log, "address": address}).settings
    with ExitStack() as stack:
        if gpu:
            _connect(stack, settings, workers=workers or 1, gpu=True)
        chosen = _chosen(log, sessions or (), scenario=scenario, where=where)
        name = name or _name(chosen)

        from runtime.models.training.learn_from import (  # loads torch, which a mistake need not wait for
            fitting,
            learn_from,
        )
        from runtime.models.training.order import Order
        from runtime.models.training.unfinished import Storage
        from telemetry.otel.metrics import exporting
        from world_model.jepa.config import JepaConfig

        order = Order(
            name=name,
            kind=kind.value if kind else fitting(chosen, asked=bool(steps or seconds or history or workers or gpu)),
            config=JepaConfig() if history is None else JepaConfig(history=history),
            steps=steps,
            seconds=seconds,
            seed=seed,
            where=where,
            workers=workers or 1,
            gpu=gpu,
        )
        if order.kind == "jepa" and not gpu:
            _connect(stack, settings, workers=order.workers, gpu=False)
        stack.enter_context(
            exporting(settings.metrics, said=talk, endpoint=settings.prometheus, protocol=settings.metrics_protocol)
        )
        watch = stack.enter_context(watching(order, len(chosen), quiet=as_json))
        made, event = learn_from(
            log_url(settings),
            chosen,
            order,
            registry=registry_of(settings),
            storage=Storage.of(settings),
            watch=watch,
            said=talk,
        )
    _finish(made, event, log=log, as_json=as_json)


def _connect(stack: ExitStack, settings: Settings, *, workers: int, gpu: bool) -> None:
    """Raises `NoRoom` where the workers have no room, before anything is read."""
    from loops.training.ray_train import Workers, check_room
    from runtime.hosting.cluster import connected

    stack.enter_context(connected(settings))
    check_room(Workers(workers, gpu=gpu))


def _chosen(log: str | None, sessions: Sequence[str], *, scenario: str | None, where: str | None) -> list[Source]:
    from runtime.models.training.sources import sources

    untold: list[str] = []
    with reading(log) as store:
        try:
            return sources(store, sessions, scenario=scenario, where=where, untold=untold.append)
        finally:
            told_of(untold)


def _name(chosen: Sequence[Source]) -> str:
    """What a model is called where nobody says."""
    from runtime.errors import UsageError
    from runtime.models.registry.store import check_name

    scenarios = dict.fromkeys(source.opened.scenario for source in chosen)
    if len(scenarios) > 1:
        raise UsageError(
            f"these are sessions of {len(scenarios)} scenarios: {', '.join(scenarios)}. Give the model a name: aether "
            "train world-model NAME. Nothing was learnt"
        )
    (name,) = scenarios
    check_name(name)
    return name


def _check(
    kind: Kind | None,
    *,
    steps: int | None,
    seconds: float | None,
    history: int | None,
    workers: int | None,
    gpu: bool,
) -> None:
    from runtime.errors import UsageError
    from world_model.jepa.config import JepaConfig

    batch = JepaConfig().batch
    if workers is not None and batch % workers:
        raise UsageError(f"{workers} workers cannot share a step's {batch} sequences evenly. Nothing was learnt")
    if steps is not None and seconds is not None:
        raise UsageError("give --steps or --seconds, not both. Nothing was learnt")
    if kind is Kind.LINEAR and (steps or seconds or history or workers or gpu):
        raise UsageError(
            "a linear model takes every transition once, in this process, and believes what it sees: --steps, "
            "--seconds, --history, --workers and --gpu are of the jepa. Nothing was learnt"
        )


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
        typer.echo(f"\nNext: aether model show {learnt.model} --plot")
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
    done += "" if took is None else " in less than 1 s" if took < 1 else f" in {took:.0f} s"
    shared = f" by {learnt.workers} workers" if learnt.workers > 1 else ""
    resumed = f", went on from step {at:,.0f}" if (at := found.get("resumed_at")) else ""
    lost = f", workers lost {count:.0f}×" if (count := found.get("workers_lost")) else ""
    yield f"training      {done}{shared}{resumed}{lost}"
