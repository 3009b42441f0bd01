"""A benchmark of several parts: all of them, or those that are named.

Knows a command line; the parts know what they measure."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence

from benchmarks.report import progress


def run_parts(
    name: str, parts: Mapping[str, Callable[[], None]], arguments: Sequence[str] | None, *, about: str | None
) -> int:
    """Runs the parts of `python -m benchmarks.NAME` that `arguments` name, or the process' own. `about` is its help."""

    def part(word: str) -> str:
        """Not `choices`, by which argparse of Python 3.11 refuses a list of none."""
        if word not in parts:
            raise argparse.ArgumentTypeError(f"{word!r} is no part; there are: {', '.join(parts)}")
        return word

    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=about)
    parser.add_argument("part", nargs="*", type=part, metavar="PART", help="all of them when none is named")
    for chosen in parser.parse_args(arguments).part or [*parts]:
        progress(f"bench-{name}", chosen)
        parts[chosen]()
    return 0
