"""Runs README's commands and puts what they print now in place of what it shows: `python docs/render_readme.py`.

    python docs/render_readme.py               all of it, with the learning curve of one round
    python docs/render_readme.py --rounds 3    the same with a curve of three

Every line that a command shows in README stands for the line of the same shape that it prints: ids, figures and paths
are written anew. A line `…` stands for what README leaves out, and stays. It takes as long as the commands do, some
minutes; for a quiet machine."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
CURVE = ROOT / "docs" / "pictures" / "learning-curve.png"

COMMAND = re.compile(r"^\$ aether (.+)$", flags=re.MULTILINE)
SESSION = re.compile(r"(?<![@\w])[0-9a-f]{12}\b(?!…)")
"""An id of a session, and of nothing else: a model's stands behind its name."""


def shape(line: str) -> str:
    """A line without what differs from run to run: ids, figures, paths, spacing."""
    line = re.sub(r"~?(/[\w.-]+)+", "PATH", line)
    line = re.sub(r"\b[0-9a-f]{12,64}\b", "ID", line)
    line = re.sub(r"[+-]?\d[\d,.]*", "N", line)
    return re.sub(r"\s+", " ", line).strip()


def shown_under(readme: str, command: str) -> list[str]:
    """The lines that README shows as the command's output, without the ones it cuts short."""
    after = readme.partition(f"$ aether {command}\n")[2]
    lines = after.partition("```")[0].partition("\n$ ")[0].splitlines()
    return [line for line in lines if line.strip() and "…" not in line]


def refreshed(readme: str, command: str, printed: str) -> str:
    """README with the lines under `command` as they are printed now. Raises ValueError for one that is not printed."""
    found = iter([line.rstrip() for line in printed.splitlines()])
    begins = readme.index(f"$ aether {command}\n") + len(f"$ aether {command}\n")
    ends = begins + len(readme[begins:].partition("```")[0].partition("\n$ ")[0])
    lines = readme[begins:ends].split("\n")
    return readme[:begins] + "\n".join(_lines(lines, found)) + readme[ends:]


def _lines(shown: list[str], printed: Iterator[str]) -> Iterator[str]:
    for line in shown:
        if line.strip() in ("", "…"):
            yield line
            continue
        now = next((one for one in printed if _alike(one, line)), None)
        if now is None:
            raise ValueError(f"the command prints no such line any more, in this order: {line}")
        yield now


def _alike(one: str, other: str) -> bool:
    """A line that the command itself cut at the terminal's edge is told by its first words."""
    if "…" in one and "…" in other:
        return shape(one).split()[:3] == shape(other).split()[:3]
    return shape(one) == shape(other)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1, help="rounds of the curve")
    rounds = parser.parse_args().rounds
    readme = README.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="readme-") as folder:
        env = {**os.environ, "AETHER_HOME": str(Path(folder) / "home"), "PYTHONPATH": str(ROOT)}
        session = ""
        for command in COMMAND.findall(readme):
            words = SESSION.sub(session or "none", command).replace("maze.seal.json", f"{folder}/maze.seal.json")
            if words.startswith("learn "):
                words += f" --out {CURVE}"
            printed = _printed(words, env).replace(str(Path(folder) / "home"), "~/.local/share/aetherloop")
            printed = printed.replace(f"{folder}/", "").replace(str(CURVE), "maze-learning.png")
            now = SESSION.sub(session or "none", command)
            readme = readme.replace(f"$ aether {command}\n", f"$ aether {now}\n")
            readme = refreshed(readme, now, printed)
            if words.startswith("run "):
                session = session or SESSION.findall(printed)[0]
        if rounds > 1:
            _printed(f"learn examples/maze.toml --rounds {rounds - 1} --out {CURVE}", env)
    README.write_text(readme, encoding="utf-8")
    return 0


def _printed(words: str, env: dict[str, str]) -> str:
    sys.stderr.write(f"aether {words}\n")
    command = (sys.executable, "-m", "runtime", *words.split())
    return subprocess.run(command, cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
