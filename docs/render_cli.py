"""Writes docs/cli.md from the commands themselves: `python docs/render_cli.py`; with `--check` only compares.

Invariant: what stands in docs/cli.md is what `--help` says."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import typer
from typer.core import TyperCommand, TyperGroup

Command = TyperCommand | TyperGroup

PAGE = Path(__file__).with_name("cli.md")
WIDTH = 100

INTRODUCTION = """\
# The command line

`aether …` and `python -m runtime …` are the same program. Data goes to stdout, talk to stderr. With `--json` stdout
is one JSON document, errors included: listings answer `{"as_of", "rows", "next"}`, where `as_of` is the log's
position that the rows are true of (null for what lies beside it, such as models), and `next` what to continue after.
The exceptions are `aether session tail --follow --json`, `aether log follow --json` and `aether trace query --json`,
which print a document a line.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failed: a session ended by an error, or an error of ours |
| 2 | usage: a scenario, setting or argument that cannot be meant |
| 3 | not found: no such session, environment, model, event or log; or it is archived and removed, or withheld |
| 4 | verification failed: a log, a replay or a model is not what was recorded |
| 5 | refused: ethics or consent |
| 6 | unavailable: somebody else holds it, or there is no room or resource |
| 130 | interrupted: the sessions rest and can be resumed; a training keeps its best model so far |

This page is written by `python docs/render_cli.py` from the commands' own help.
"""


def render() -> str:
    from runtime.cli import app

    return INTRODUCTION + "".join(_sections(cast(Command, typer.main.get_command(app)), "aether", None))


def _sections(command: Command, name: str, parent: typer.Context | None) -> Iterator[str]:
    context = typer.Context(command, info_name=name, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH)
    with context:
        yield f"\n## {context.command_path}\n\n```\n{command.get_help(context)}\n```\n"
    if isinstance(command, TyperGroup):
        for inner in command.commands:
            yield from _sections(cast(Command, command.commands[inner]), inner, context)


def main() -> int:
    page = render()
    if "--check" not in sys.argv:
        PAGE.write_text(page, encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page:
        return 0
    sys.stderr.write("docs/cli.md is not what the commands say; write it anew: python docs/render_cli.py\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
