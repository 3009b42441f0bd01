"""Runs the commands of docs/datasets.md and puts what they print now under them: `python docs/render_datasets.py`.

What stands between a line `$ COMMAND` and the next one, or the end of the block, is written anew; a line `…` at its end
stays, and so many lines stand before it. Every command runs in one folder of its own, which ends with this, with
`aether` on the path. It takes as long as the commands do, about a minute."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "datasets.md"
BLOCK = re.compile(r"^```console\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
HOME = "~/.local/share/aetherloop"


def commands(page: str) -> list[str]:
    """What stands behind `$`, in its order; a line that ends in `\\` goes on in the next."""
    lines = [line for block in BLOCK.findall(page) for line in block.replace("\\\n", "\\\\n").splitlines()]
    return [line.removeprefix("$ ").replace("\\\\n", "\\\n") for line in lines if line.startswith("$ ")]


def rendered(page: str, printed: Callable[[str], str]) -> str:
    """The page with what `printed` says of each command under it."""
    return BLOCK.sub(lambda block: f"```console\n{_block(block[1], printed)}```", page)


def _block(shown: str, printed: Callable[[str], str]) -> str:
    parts = re.split(r"^(\$ .*(?:(?<=\\)\n.*)*\n)", shown, flags=re.MULTILINE)
    lines = []
    for command, before in zip(parts[1::2], parts[2::2], strict=True):
        now = printed(command.removeprefix("$ ").rstrip("\n")).rstrip("\n").splitlines()
        kept = before.rstrip("\n").splitlines()
        if kept and kept[-1] == "…":
            now = [*now[: len(kept) - 1], "…"]
        lines += [command, *(f"{line.rstrip()}\n" for line in now)]
    return "".join(lines)


def surroundings(folder: Path) -> dict[str, str]:
    """Variables under which `aether` and `python` are this repository's, with a home in `folder`."""
    bin_ = folder / "bin"
    bin_.mkdir()
    for name, words in (("aether", "-m runtime "), ("python", "")):
        (bin_ / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}"$@"\n')
        (bin_ / name).chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AETHER_")}
    return {
        **kept,
        "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "AETHER_HOME": str(folder / "home"),
        "HF_HOME": str(folder / "hub"),
        "HF_HUB_OFFLINE": "1",
        "COLUMNS": "100",
    }


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="datasets-") as name:
        folder = Path(name)
        env, work = surroundings(folder), folder / "work"
        work.mkdir()
        (work / "examples").symlink_to(ROOT / "examples")

        def printed(command: str) -> str:
            sys.stderr.write(f"{command}\n")
            shell = ("bash", "-c", command)
            ended = subprocess.run(shell, cwd=work, env=env, check=True, stdout=subprocess.PIPE, text=True)
            return ended.stdout.replace(str(folder / "home"), HOME).replace(f"{work}/", "")

        PAGE.write_text(rendered(PAGE.read_text(encoding="utf-8"), printed), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
