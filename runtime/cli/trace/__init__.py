"""`aether trace …`: what the log becomes elsewhere: spans and records for a collector, tables, answers to queries.

Knows the names of commands; each one's work lies in its own module and is loaded when called."""

from __future__ import annotations

import typer

from runtime.cli.trace.compact import compact
from runtime.cli.trace.export import export
from runtime.cli.trace.metrics import metrics
from runtime.cli.trace.query import query
from runtime.cli.trace.show import show

app = typer.Typer(
    help="Follow the log to collectors and tables, and ask them.\n\n"
    "Example: aether trace export --otlp http://localhost:4318",
    no_args_is_help=True,
)


@app.callback()
def trace() -> None:
    """Keeps every command a word of its own, however many there are."""


app.command()(metrics)
app.command()(compact)
app.command()(show)
app.command()(export)
app.command()(query)
