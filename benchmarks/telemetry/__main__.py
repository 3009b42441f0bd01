"""The figures of telemetry as a projection: `make bench-telemetry`, or one part of it.

    python -m benchmarks.telemetry [PART …]

Knows which parts there are; the modules beside it know how. With PROFILE=short: fewer events and fewer rounds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from benchmarks.parts import run_parts
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


def main(arguments: Sequence[str] | None = None) -> int:
    return run_parts("telemetry", PARTS, arguments, about=__doc__)


if __name__ == "__main__":
    sys.exit(main())
