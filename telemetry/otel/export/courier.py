"""One batch until every item of it is taken or set aside: tried again, cut in halves, sent by reference.

Knows what answers mean for a batch; knows no protocol and no log. Invariant: on return each item was taken by the sink,
itself or by reference, or is named among the refused; on any exception some may have been taken, and will be again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final, Generic, TypeVar

from telemetry.errors import ExportFailed
from telemetry.otel.export.answers import Again, Answer, Barred, Faltered, Refused, Taken, TooLarge
from telemetry.otel.export.patience import LONGEST_S, Patience

T = TypeVar("T")

PERSISTENCE: Final = 4
"""How often what a collector falters at is sent in all, before the fault may lie in it."""
REFUSES_ALL: Final = 32
"""So many items refused one by one, and none taken: it may not be about them."""
ROUNDS: Final = 3
"""How often a batch is begun anew that is refused whole by a collector which took others before it is believed."""


@dataclass(slots=True)
class Counts:
    """Of one signal since the process began."""

    taken: int = 0
    requests: int = 0
    repeats: int = 0
    """Items that were sent again though they may have been taken: a back end that keeps repeats holds them twice."""
    by_reference: int = 0
    refused: int = 0


class _RefusesAll(Exception):
    """Not these items are refused but whatever comes from us."""


@dataclass(slots=True)
class _Batch(Generic[T]):
    """How far one batch is. `believed`: that it is refused, even if all of it is."""

    believed: bool
    taken: bool = False
    """Whether anything of it was."""
    refused: list[tuple[T, str]] = field(default_factory=list)

    def refuse(self, items: Sequence[T], why: str) -> int:
        self.refused += [(item, why) for item in items]
        if not (self.believed or self.taken) and len(self.refused) >= REFUSES_ALL:
            raise _RefusesAll(why)
        return len(items)


class Courier(Generic[T]):
    """For one signal of one sink."""

    def __init__(
        self,
        ask: Callable[[Sequence[T]], Answer],
        *,
        name: str,
        weight: Callable[[T], int],
        by_reference: Callable[[T], T | None],
        patience: Patience,
        batch_bytes: int,
        troubled: Callable[[str], None],
    ) -> None:
        """`name` is the sink's, `weight` an item's bytes, about. `by_reference` gives an item without its content, None
        for one that has none. `troubled` hears why nothing goes out, and '' when something does."""
        self._ask = ask
        self._name = name
        self._weight = weight
        self._by_reference = by_reference
        self._patience = patience
        self._batch_bytes = batch_bytes
        self._troubled = troubled
        self._ever_taken = False
        self.counts = Counts()

    def deliver(self, items: Sequence[T]) -> list[tuple[T, str]]:
        """Returns those that were refused, each with why.

        Raises `Stopped` when an end is wanted, and `ExportFailed` when patience is at an end or nothing will ever be
        taken there."""
        refused: list[tuple[T, str]] = []
        for batch in self._batches(items):
            refused += self._batch(batch)
        return refused

    def _batches(self, items: Sequence[T]) -> Iterator[Sequence[T]]:
        """Stretches of at most `batch_bytes`, or of one item."""
        begin, size = 0, 0
        for index, item in enumerate(items):
            weight = self._weight(item)
            if size and size + weight > self._batch_bytes:
                yield items[begin:index]
                begin, size = index, 0
            size += weight
        if begin < len(items):
            yield items[begin:]

    def _batch(self, items: Sequence[T]) -> list[tuple[T, str]]:
        for round_ in count():
            believed = self._ever_taken and (self._patience.ends or round_ >= ROUNDS)
            batch = _Batch[T](believed)
            try:
                self._settle(batch, items)
                if batch.refused and not (batch.taken or self._ever_taken):
                    raise _RefusesAll(batch.refused[0][1])
            except _RefusesAll as error:
                self._wait(Barred(str(error)))
            else:
                self.counts.refused += len(batch.refused)
                return batch.refused
        raise AssertionError("unreachable")

    def _settle(self, batch: _Batch[T], items: Sequence[T], *, rejected: int | None = None) -> int:
        """How many of `items` are refused. `rejected`: they were sent together, so many were, and the others taken."""
        if rejected is None:
            answer = self._answer(items)
            if isinstance(answer, Taken):
                batch.taken = True
                return 0
            if isinstance(answer, TooLarge):
                return self._lighter(batch, items, answer.why)
            rejected = answer.rejected if isinstance(answer, Refused) else None
            if len(items) == 1 or (rejected is not None and rejected >= len(items)):
                return batch.refuse(items, answer.why)
            if rejected is not None:
                batch.taken = self._ever_taken = True
        half = len(items) // 2
        rest = items[half:]
        first = self._settle(batch, items[:half])
        if rejected is None:
            return first + self._settle(batch, rest)
        self.counts.repeats += half
        left = rejected - first
        if left <= 0:
            self.counts.taken += len(rest)
            return first
        return first + self._settle(batch, rest, rejected=left if left < len(rest) else None)

    def _lighter(self, batch: _Batch[T], items: Sequence[T], why: str) -> int:
        """In halves; what is too large alone goes by reference."""
        if len(items) > 1:
            half = len(items) // 2
            return self._settle(batch, items[:half]) + self._settle(batch, items[half:])
        reference = self._by_reference(items[0])
        if reference is None:
            return batch.refuse(items, why)
        self.counts.by_reference += 1
        return self._settle(batch, [reference])

    def _answer(self, items: Sequence[T]) -> Taken | Faltered | Refused | TooLarge:
        """What the sink says once it says something of these items."""
        faltered = 0
        while True:
            self.counts.requests += 1
            answer = self._ask(items)
            match answer:
                case Taken():
                    self._taken()
                    self.counts.taken += len(items)
                    return answer
                case Faltered():
                    faltered += 1
                    if faltered == PERSISTENCE:
                        return answer
                case Refused() | TooLarge():
                    return answer
            self._wait(answer)
            if isinstance(answer, Again):
                self.counts.repeats += len(items)

    def _taken(self) -> None:
        self._ever_taken = True
        self._patience.succeeded()
        self._troubled("")

    def _wait(self, answer: Again | Faltered | Barred) -> None:
        """Before what was not taken is sent again. Raises `Stopped`, `ExportFailed`."""
        self._troubled(answer.why)
        if self._patience.over or (isinstance(answer, Barred) and self._patience.ends):
            raise ExportFailed(
                f"{self._name} took nothing: {answer.why}. What did not go out is safe in the log, and the place in it "
                "stands before that; run the same again to go on there"
            )
        after_s = answer.after_s if isinstance(answer, Again) else LONGEST_S if isinstance(answer, Barred) else None
        self._patience.wait(self._patience.next_s(after_s))
