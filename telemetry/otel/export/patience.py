"""How long between attempts. Knows chance and a clock that can be stopped; knows nothing of what is attempted."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

FIRST_S: Final = 0.25
LONGEST_S: Final = 30.0
"""Between two attempts, unless the collector asks for more."""


class Stopped(Exception):
    """Somebody wants an end; what was under way has not been done."""


class Patience:
    """Waits longer each time, and never twice as long as before: others that wait too shall not come back at once."""

    def __init__(self, stopped: Callable[[float], bool], *, total_s: float | None) -> None:
        """`stopped` waits so long, or until an end is wanted, and says whether it is. After `total_s` without success
        patience is at an end; None for never."""
        self._stopped = stopped
        self._total_s = total_s
        self._attempts = 0
        self._since = time.monotonic()

    @property
    def ends(self) -> bool:
        """Whether it ever does."""
        return self._total_s is not None

    @property
    def over(self) -> bool:
        return self._total_s is not None and time.monotonic() - self._since >= self._total_s

    def succeeded(self) -> None:
        self._attempts = 0
        self._since = time.monotonic()

    def next_s(self, after_s: float | None) -> float:
        """How long to wait now: chance within the doubling, and not before the collector's own time."""
        longest = min(LONGEST_S, FIRST_S * 2.0 ** min(self._attempts, 16))
        self._attempts += 1
        return max(after_s or 0.0, longest * random.uniform(0.5, 1.0))

    def wait(self, seconds: float) -> None:
        """Raises `Stopped`."""
        if self._stopped(seconds):
            raise Stopped
