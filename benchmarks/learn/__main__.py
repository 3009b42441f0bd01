"""The figures of learning: `make bench-learn`, or one part of it.

    python -m benchmarks.learn [PART …]

Knows which parts there are; the modules beside it know how. With PROFILE=short: one seed, fewer pairs, and all of it in
about ten minutes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from benchmarks.learn import gain, promotions, training
from benchmarks.report import progress

PARTS: dict[str, Callable[[], None]] = {
    "training": training.report,
    "promotions": promotions.report,
    "gain": gain.report,
}


def _part(word: str) -> str:
    """Not `choices`, by which argparse of Python 3.11 refuses a list of none."""
    if word not in PARTS:
        raise argparse.ArgumentTypeError(f"{word!r} is no part; there are: {', '.join(PARTS)}")
    return word


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learn", description=__doc__)
    parser.add_argument("part", nargs="*", type=_part, metavar="PART", help="all of them when none is named")
    for part in parser.parse_args(arguments).part or [*PARTS]:
        progress("bench-learn", part)
        PARTS[part]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
