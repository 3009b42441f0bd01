"""The README's commands and its Python are run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.renderers import renderer

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


RENDERER = renderer("render_readme")
COMMANDS: list[str] = RENDERER.COMMAND.findall(README)
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


@pytest.mark.timeout(1500)
def test_every_command_of_the_readme_runs_and_prints_what_it_shows(tmp_path: Path) -> None:
    assert COMMANDS[0] == "learn examples/maze.toml --rounds 1"
    environment = _environment(tmp_path / "home", tmp_path / "token")
    session = ""
    for command in COMMANDS:
        words = RENDERER.SESSION.sub(session or "none", command).replace("maze.seal.json", str(tmp_path / "seal.json"))
        if words.startswith("learn "):
            words = words.replace("examples/maze.toml", str(_shorter(tmp_path))) + f" --out {tmp_path / 'curve.png'}"
        ended = subprocess.run(
            [sys.executable, "-m", "runtime", *words.split()],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert ended.returncode == 0, f"aether {command}: {ended.stdout}\n{ended.stderr}"
        if words.startswith("run "):
            session = session or RENDERER.SESSION.findall(ended.stdout)[0]
        printed = {_shape(line, tmp_path) for line in ended.stdout.splitlines()}
        for line in RENDERER.shown_under(README, command):
            assert RENDERER.shape(line) in printed, line


def _shorter(folder: Path) -> Path:
    """The example with less of everything, which is learnt from in seconds and by the same steps."""
    text = (ROOT / "examples" / "maze.toml").read_text(encoding="utf-8").partition("[learning]")[0]
    assert "max_frames = 300" in text
    text = text.replace("max_frames = 300", "max_frames = 150")  # so few that what stands shows to be worse for sure
    path = folder / "maze.toml"
    path.write_text(f'{text}[learning]\nkind = "linear"\ntransitions = 800\npairs = [20, 40]\n')
    return path


def _shape(line: str, folder: Path) -> str:
    for path, shown in ((folder / "maze.toml", "examples/maze.toml"), (folder / "curve.png", "maze-learning.png")):
        line = line.replace(str(path), shown)
    return str(RENDERER.shape(line))


@pytest.mark.timeout(1500)
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
