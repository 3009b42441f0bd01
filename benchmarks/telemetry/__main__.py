"""The figures of telemetry as a projection: `make bench-telemetry`, or one part of it.

    python -m benchmarks.telemetry [PART …]

Knows which parts there are; the modules beside it know how. With PROFILE=short: fewer events and fewer rounds."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from benchmarks.report import progress
from benchmarks.telemetry import bare, beside, bursts, datasets, queries, record

PARTS: dict[str, Callable[[], None]] = {
    "bursts": bursts.report,
    "bare": bare.report,
    "beside": beside.report,
    "record": record.main,
    "queries": queries.main,
    "datasets": datasets.main,
}
"""Each reports its figures and takes at most three minutes on an idle machine, less with PROFILE=short."""


def _part(word: str) -> str:
    """Not `choices`, by which argparse of Python 3.11 refuses a list of none."""
    if word not in PARTS:
        raise argparse.ArgumentTypeError(f"{word!r} is no part; there are: {', '.join(PARTS)}")
    return word


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.telemetry", description=__doc__)
    parser.add_argument("part", nargs="*", type=_part, metavar="PART", help="all of them when none is named")
    for part in parser.parse_args(arguments).part or [*PARTS]:
        progress("bench-telemetry", part)
        PARTS[part]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
