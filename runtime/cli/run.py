"""`aether run`: sessions of a scenario, live on a terminal, in plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runtime.cli.output import Json, LogUrl, answer, command, table, talk

if TYPE_CHECKING:
    from runtime.hosting.orders import RunStatus
    from runtime.learning.fleet import Watch
    from runtime.run import RunResult, Summary

PLAIN_EVERY_S = 5.0

Sessions = Annotated[int | None, typer.Option(min=1, help="How many sessions.  [default: the scenario's]")]
Cycles = Annotated[int | None, typer.Option(min=1, help="End each session after this many cycles.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Seed of the run.  [default: the scenario's]")]
Address = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Ray cluster to attach to.  [default: a local one]")
]


@command
def run(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO.toml", help="What the sessions are run with.")],
    sessions: Sessions = None,
    cycles: Cycles = None,
    seed: Seed = None,
    log: LogUrl = None,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Run the sessions of a scenario on Ray and record every transition.

    Ctrl-C lets each session finish its cycle and rest; `aether session resume` goes on. With a schedule under
    [learning] the run trains meanwhile, and its sessions go by what is promoted.

    Example: aether run examples/maze.toml --sessions 2 --cycles 50
    """
    from runtime.run import check_scenario, new_orders, run_orders
    from runtime.scenario import read_scenario
    from runtime.settings import read_settings

    settings = read_settings({"log": log, "address": address}).settings
    file = read_scenario(scenario)
    check_scenario(file, settings)
    orders = new_orders(file, sessions=sessions, cycles=cycles, seed=seed)
    with watching(file.scenario.name, quiet=as_json) as watch:
        result = run_orders(settings, orders, watch=watch, said=talk)
    finish(result, as_json=as_json)


@contextmanager
def watching(title: str, *, quiet: bool) -> Iterator[Watch]:
    """Shows how a run goes: a live line on a terminal, a plain one every PLAIN_EVERY_S seconds elsewhere.

    Meanwhile what others print to stdout goes to stderr: Ray reports there what dies, and stdout is for data."""
    from rich.console import Console

    console = Console(stderr=True)
    line = _Line(title)
    if quiet or not console.is_terminal:
        with redirect_stdout(sys.stderr):
            yield (lambda _: None) if quiet else _plainly(line)
    else:
        with console.status(f"{title}: starting Ray…") as shown, redirect_stdout(sys.stderr):
            yield lambda status: shown.update(line.of(status))


def _plainly(line: _Line) -> Watch:
    last = time.monotonic()

    def say(status: RunStatus) -> None:
        nonlocal last
        words = line.of(status)
        if time.monotonic() - last >= PLAIN_EVERY_S:
            last = time.monotonic()
            talk(words)

    return say


class _Line:
    """One line on how the sessions stand; the rate is since the first one."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._first: tuple[float, int] | None = None
        self._surprise = "—"
        self._deaths = 0

    def of(self, status: RunStatus) -> str:
        now = time.monotonic()
        if self._first is None or status.deaths != self._deaths:
            self._deaths, self._first = status.deaths, (now, status.cycles)
        began, cycles = self._first
        rate = (status.cycles - cycles) / (now - began) if now > began else 0
        if status.nats is not None:
            self._surprise = f"{status.nats:+.2f}"
        parts = [
            f"{self._title}: {status.sessions - status.running}/{status.sessions} sessions ended",
            f"{status.cycles} cycles, {rate:.0f}/s",
        ]
        if status.episodes or status.nats is not None:
            parts.append(f"{status.successes}/{status.episodes} episodes succeeded")
            parts.append(f"surprise {self._surprise} nats")
        if status.hosts > 1:
            parts.append(f"{len(status.pids)}/{status.hosts} hosts")
        if self._deaths:
            parts.append(f"host died {self._deaths}×" if status.hosts > 1 else f"host restarted {self._deaths}×")
        if status.learning:
            parts.append(f"learning: {status.learning}")
        if status.telemetry:
            parts.append(f"telemetry waits: {status.telemetry}")
        if status.stalled:
            parts.append(f"waiting: {status.stalled}")
        elif status.waiting:
            parts.append(f"waiting {status.waiting}")
        return " · ".join(parts)


def finish(result: RunResult, *, as_json: bool) -> None:
    """Prints a run's result and ends with its exit code."""
    from runtime.errors import INTERRUPTED

    rows = [row.model_dump() for row in result.rows]
    summary = result.summary.model_dump()
    if as_json:
        answer(
            rows,
            as_of=result.as_of,
            more={"summary": summary, "errors": list(result.errors), "telemetry": list(result.telemetry)},
        )
    else:
        table(rows, ("session", "status", "outcome", "cycles", "version", "state_hash"))
        typer.echo(_words(result))
        for error in result.errors:
            talk(f"aether: {error}")
        for row in result.rows:
            if row.error is not None:
                talk(f"aether: {row.session} failed: {row.error}")
        for waits in result.telemetry:
            talk(waits)
        if result.exit_code == INTERRUPTED:
            talk("Interrupted: the sessions rest at a closed cycle. Go on with: aether session resume --all")
        if result.not_begun:
            talk(f"{result.not_begun} sessions had not begun; they left nothing on the log")
    if result.exit_code:
        raise typer.Exit(result.exit_code)


def _words(result: RunResult) -> str:
    summary = result.summary
    rate = "" if summary.success_rate is None else f", success rate {summary.success_rate:.0%}"
    first, last = summary.surprise_first_tenth, summary.surprise_last_tenth
    surprise = "" if first is None else f"surprise     {first:+.2f} nats in the first tenth, {last:+.2f} in the last\n"
    held = f"inhibitions  {summary.inhibitions}\n" if summary.inhibitions else ""
    conversed = _conversed(summary)
    spread = f"hosts        {summary.hosts}\n" if summary.hosts > 1 else ""
    example = result.rows[0].session if result.rows else "SESSION"
    return (
        f"\n{conversed or f'episodes     {summary.episodes}, {summary.successes} succeeded{rate}'}\n"
        f"{surprise}{held}{spread}"
        f"events       {summary.events:,} in {summary.cycles:,} cycles\n"
        f"log          {summary.log} ({summary.log_bytes / 2**20:.1f} MiB)\n\n"
        f"Next: aether session show {example}\n"
        f"      aether replay {example}\n"
        f"      aether log verify"
    )


def _conversed(summary: Summary) -> str:
    """What was said and called, '' where nothing was."""
    if not summary.model_calls and not summary.messages:
        return ""
    calls = ", ".join(f"{count} {what}" for what, count in sorted(summary.calls.items())) or "none"
    unanswered = f", {summary.unanswered} unanswered" if summary.unanswered else ""
    cost = f", {summary.cost_usd:.4f} US dollars" if summary.cost_usd else ""
    return (
        f"messages     {summary.messages}\n"
        f"tool calls   {calls}\n"
        f"model calls  {summary.model_calls}{unanswered}, {summary.tokens:,} tokens{cost}"
    )
