"""The figures of learning: `make bench-learn`, or one part of it.

    python -m benchmarks.learn [PART …]

Knows which parts there are; the modules beside it know how. With PROFILE=short: one seed, fewer pairs, and all of it in
about ten minutes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from benchmarks.learn import gain, promotions, training
from benchmarks.parts import run_parts

PARTS: dict[str, Callable[[], None]] = {
    "training": training.report,
    "promotions": promotions.report,
    "gain": gain.report,
}


def main(arguments: Sequence[str] | None = None) -> int:
    return run_parts("learn", PARTS, arguments, about=__doc__)


if __name__ == "__main__":
    sys.exit(main())
