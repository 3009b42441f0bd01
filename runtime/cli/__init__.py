"""The command line: `aether …` and `python -m runtime …`, the same program.

Knows how commands are named and how they end; each command's work lies in its own module and is loaded when
called. Invariant: importing this loads neither Ray nor torch, and every way out has a code of `runtime.errors`."""

from __future__ import annotations

import sys

import typer

from runtime.cli import dataset, log, model, playbook, session, trace, train
from runtime.cli.chaos import chaos
from runtime.cli.chat import chat
from runtime.cli.doctor import doctor
from runtime.cli.gateway import gateway
from runtime.cli.learn import learn
from runtime.cli.output import document
from runtime.cli.replay import replay
from runtime.cli.rerun import rerun
from runtime.cli.run import run
from runtime.cli.why import model_why, why

app = typer.Typer(
    name="aether",
    help="Run agent sessions whose every transition is an event, replay them, and check their log.\n\n"
    "Example: aether run examples/maze.toml",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(run)
app.command()(learn)
app.command()(chat)
app.command()(gateway)
app.add_typer(session.app, name="session")
app.add_typer(playbook.app, name="playbook")
app.add_typer(log.app, name="log")
app.add_typer(trace.app, name="trace")
app.add_typer(dataset.app, name="dataset")
app.add_typer(train.app, name="train")
app.add_typer(model.app, name="model")
model.app.command("why")(model_why)
app.command()(why)
app.command()(replay)
app.command()(rerun)
app.command()(chaos)
app.command()(doctor)


Misused: type[Exception] = typer.BadParameter.__base__ or Exception
"""What the parser raises for options and arguments it cannot take: its `UsageError`."""


def main() -> None:
    """The console script."""
    if "--json" not in sys.argv:
        app(prog_name="aether")
        return
    try:
        sys.exit(app(prog_name="aether", standalone_mode=False))
    except Misused as error:
        words = error.format_message() if hasattr(error, "format_message") else str(error)
        document({"error": {"type": "UsageError", "message": f"{words} See: aether --help", "exit_code": 2}})
        sys.exit(2)
