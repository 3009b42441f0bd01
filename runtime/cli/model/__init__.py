"""`aether model …`: which trained models there are, what each was learnt from and is worth, and which one stands.

Knows how the commands are named; each one's work lies in a module of this package."""

from __future__ import annotations

import typer

from runtime.cli.model.evaluate import evaluate
from runtime.cli.model.look import list_models, show
from runtime.cli.model.stand import promote, rollback

app = typer.Typer(
    help="List, show, judge, promote and take back trained models.\n\nExample: aether model show maze --plot",
    no_args_is_help=True,
)
app.command("list")(list_models)
app.command()(show)
app.command()(evaluate)
app.command()(promote)
app.command()(rollback)
