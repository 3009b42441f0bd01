"""`aether dataset …`: from what sessions recorded to files that models are trained on.

Knows how the commands are named; each one's work lies in a module of this package."""

from __future__ import annotations

import typer

from runtime.cli.dataset.build import build
from runtime.cli.dataset.look import list_datasets, show

app = typer.Typer(
    help="Build datasets from the log, list and check them.\n\nExample: aether dataset build conversation",
    no_args_is_help=True,
)
app.command()(build)
app.command("list")(list_datasets)
app.command()(show)
