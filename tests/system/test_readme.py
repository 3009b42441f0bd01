"""The README's commands and its Python are run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SESSION = re.compile(r"\b[0-9a-f]{12}\b(?!…)")

COMMANDS = re.findall(r"^\$ aether (.+)$", README, flags=re.MULTILINE)
PYTHON = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def _environment(home: Path, token: Path) -> dict[str, str]:
    token.write_text("a" * 64)
    return {
        **os.environ,
        "AETHER_HOME": str(home),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "PYTHONPATH": str(ROOT),
    }


def test_the_readme_opens_with_the_two_commands_and_the_makefile_has_them() -> None:
    assert README.index("make run") < README.index("make test") < README.index("## ")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^run:", makefile, re.MULTILINE)
    assert re.search(r"^test:", makefile, re.MULTILINE)


def test_the_tree_of_the_readme_names_every_folder_of_the_repository() -> None:
    tree = README.partition("## The house")[2].partition("```\n")[2].partition("```")[0]
    rooms = {p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith((".", "_")) and p.name != "build"}
    assert rooms <= {line.split()[0].rstrip("/") for line in tree.splitlines() if not line.startswith(" ")} | {
        "node_modules"
    }


@pytest.mark.timeout(600)
def test_every_command_of_the_readme_runs_and_prints_what_it_shows(tmp_path: Path) -> None:
    assert COMMANDS[0] == "run examples/maze.toml"
    environment = _environment(tmp_path / "home", tmp_path / "token")
    session = ""
    for command in COMMANDS:
        words = SESSION.sub(session or "none", command).replace("maze.seal.json", str(tmp_path / "seal.json")).split()
        ended = subprocess.run(
            [sys.executable, "-m", "runtime", *words],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert ended.returncode == 0, f"aether {command}: {ended.stdout}\n{ended.stderr}"
        session = session or SESSION.findall(ended.stdout)[0]
        for line in _shown_under(command):
            assert _shape(line) in {_shape(printed) for printed in ended.stdout.splitlines()}, line


@pytest.mark.timeout(600)
def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    for code in PYTHON:
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=_environment(tmp_path / "home", tmp_path / "token"),
            check=True,
            timeout=300,
        )


def _shown_under(command: str) -> list[str]:
    """The lines that the README shows as the command's output, without the ones it cuts short."""
    after = README.partition(f"$ aether {command}\n")[2]
    lines = after.partition("```")[0].partition("\n$ ")[0].splitlines()
    return [line for line in lines if line.strip() and "…" not in line]


def _shape(line: str) -> str:
    """A line without what differs from run to run: ids, figures, paths, spacing."""
    line = re.sub(r"~?(/[\w.-]+)+", "PATH", line)
    line = re.sub(r"\b[0-9a-f]{12,64}\b", "ID", line)
    line = re.sub(r"[+-]?\d[\d,.]*", "N", line)
    return re.sub(r"\s+", " ", line).strip()
