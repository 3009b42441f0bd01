"""Lines in, text out: a terminal with history and editing, or pipes.

Knows the standard streams; knows nothing of what is said on them. Invariant: what the agent says goes to stdout and
all else to stderr, and what others print meanwhile goes to stderr too."""

from __future__ import annotations

import io
import sys
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Self

import typer

if TYPE_CHECKING:
    from runtime.people.chat import Shown, Style

HISTORY_LINES = 1000


class Terminal:
    """`history` keeps the typed messages between conversations; only this user may read it."""

    def __init__(self, *, history: Path) -> None:
        self._history = history
        self._out = sys.stdout
        self._typed = sys.stdin.isatty() and sys.stdout.isatty()
        self._mid_line = False
        self._around = ExitStack()

    def __enter__(self) -> Self:
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="replace")  # a message is text, whatever is piped in
        if self._typed:
            self._recall()
        self._around.enter_context(redirect_stdout(sys.stderr))
        return self

    def __exit__(self, *_: object) -> None:
        self._around.close()
        if self._typed:
            self._keep()

    def line(self, prompt: str, *, keep: bool) -> str | None:
        """The next line without its end; None when there are no more. `keep` puts it into the history."""
        if not self._typed:
            line = sys.stdin.readline()
            return line.removesuffix("\n") if line else None
        with redirect_stdout(self._out):  # line editing needs the terminal itself
            try:
                line = input(prompt)
            except EOFError:
                typer.echo(err=True)
                return None
            except KeyboardInterrupt:
                typer.echo(err=True)
                raise
        if keep and line.strip():
            import readline

            readline.add_history(line)
        return line

    def show(self, shown: Shown) -> None:
        self.say(shown.style, shown.text, ends_line=shown.ends_line)

    def say(self, style: Style, text: str, *, ends_line: bool = True) -> None:
        if style == "said":
            typer.echo(text, file=self._out, nl=ends_line)
            self._out.flush()
            self._mid_line = not ends_line and not text.endswith("\n")
            return
        if self._mid_line:
            self.say("said", "")
        typer.echo(typer.style(text, dim=True) if style == "dim" else text, err=True)

    def _recall(self) -> None:
        import readline

        readline.set_auto_history(False)
        readline.set_history_length(HISTORY_LINES)
        if self._history.exists():
            readline.read_history_file(self._history)

    def _keep(self) -> None:
        import readline

        self._history.parent.mkdir(parents=True, exist_ok=True)
        self._history.touch(mode=0o600)
        self._history.chmod(0o600)
        readline.write_history_file(self._history)
