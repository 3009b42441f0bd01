"""The commands of docs/datasets.md run, and print lines of the form that the page shows."""

from __future__ import annotations

import re
import subprocess
from contextlib import closing
from pathlib import Path

from telemetry.log import open_log
from telemetry.log.imports import import_lines
from tests.renderers import renderer

ROOT = Path(__file__).resolve().parents[2]


def test_every_command_but_the_run_prints_what_the_page_shows_of_another_log(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "datasets.md").read_text(encoding="utf-8")
    script = renderer("render_datasets")
    env = script.surroundings(tmp_path)
    (tmp_path / "home").mkdir()
    with closing(open_log(tmp_path / "home" / "aether.db")) as log:
        for name in ("maze", "lava"):
            with (ROOT / "tests" / "golden" / f"{name}.jsonl").open("rb") as lines:
                import_lines(log, lines)

    def printed(command: str) -> str:
        if "aether run" in command:
            return ""
        # Two sessions do not fill three splits; the page's do.
        command = command.replace("moves/validation.jsonl moves/test.jsonl ", "")
        ended = subprocess.run(("bash", "-c", command), cwd=tmp_path, env=env, capture_output=True, text=True)
        assert ended.returncode == 0, (command, ended.stderr)
        return ended.stdout

    commands = script.commands(page)
    assert [command.split()[0] for command in commands[:5]] == ["aether", "aether", "aether", "cat", "python"]
    assert commands[0].startswith("aether run ")
    shown, now = _words(page), _words(script.rendered(page, printed))
    assert set(now) <= set(shown), set(now) - set(shown)


def _words(page: str) -> list[str]:
    """The first word of each line of a command's output that begins with one."""
    blocks = re.findall(r"^```console\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    return [line.split()[0] for block in blocks for line in block.splitlines() if re.match(r"[a-z]+  ", line)]
