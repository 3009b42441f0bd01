"""A training as its log hears of it: its looks while it trains, its end for good.

Knows events and who may write them; trains nothing. Invariant: what is said of a training waits for the log, the
training does not."""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType
from typing import Final, Self

from runtime.entry import Said, enter, enter_kept
from runtime.errors import RuntimeFailure
from telemetry.errors import IdempotencyConflict, TelemetryError
from telemetry.events.learn import ModelTrained, TrainingProgressed
from telemetry.events.values import EventId

LAST_S: Final = 10.0
"""How long the end of a training waits for its looks to be entered."""


class Looks:
    """Enters looks in a thread of its own, in their order. One that cannot be entered is tried again with the next and
    at the end; `said` hears once of why."""

    def __init__(self, url: str, *, said: Said) -> None:
        self._url = url
        self._said = said
        self._waiting: deque[TrainingProgressed] = deque()
        self._news = threading.Condition()
        self._closing = self._complained = False
        self._thread = threading.Thread(target=self._work, name="looks", daemon=True)
        self._thread.start()

    def tell(self, look: TrainingProgressed) -> None:
        with self._news:
            self._waiting.append(look)
            self._news.notify()

    def close(self) -> None:
        """Returns when all are entered, or could not be."""
        with self._news:
            self._closing = True
            self._news.notify()
        self._thread.join(LAST_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _work(self) -> None:
        stuck, closing = 0, False
        while not closing:
            with self._news:
                while len(self._waiting) <= stuck and not self._closing:
                    self._news.wait()
                closing, looks = self._closing, tuple(self._waiting)
            entered = next((place for place, look in enumerate(looks) if not self._entered(look)), len(looks))
            stuck = len(looks) - entered
            for _ in range(entered):
                self._waiting.popleft()

    def _entered(self, look: TrainingProgressed) -> bool:
        try:
            enter(self._url, look, run=f"{look.run}.{look.step}")
        except IdempotencyConflict:
            return True  # a training that goes on by time looks again, and sees a little else than before
        except (TelemetryError, RuntimeFailure) as error:
            if not self._complained:
                self._complained = True
                self._said(f"looks at this training cannot be entered now, which it does not wait for: {error}")
            return False
        return True


def enter_trained(url: str, trained: ModelTrained, *, refs: tuple[EventId, ...], run: str, said: Said) -> EventId:
    """As `enter_kept`."""
    again = "Then train it again: an equal training gives the same model"
    return enter_kept(url, trained, what=trained.model, again=again, refs=refs, run=run, said=said)
