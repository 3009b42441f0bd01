"""One round of learning after the other: sessions run, a model learns from the log, and is promoted if it acts better.

Knows the order of things, each done by a module of its own; keeps nothing. Invariant: where a round stands follows from
the log, so one that was cut off anywhere goes on there, and what ran is not run again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple

from runtime.errors import EXPECTED, Unavailable, exit_code_of
from runtime.hosting.orders import RunStatus, SessionOrder
from runtime.learning.candidate import order_of, reject_unfit
from runtime.learning.course import Course
from runtime.learning.fleet import Fleet, Ran
from runtime.learning.gather import Stopped, gather
from runtime.learning.history import History, Round, history
from runtime.learning.judging.evaluate import Look, evaluate
from runtime.learning.judging.promotion import settle
from runtime.learning.judging.trial import Trial
from runtime.models.registry.store import registry_of
from runtime.models.standing import incumbent as incumbent_of
from runtime.models.training.order import Told as Trained
from runtime.models.training.order import Watch
from runtime.models.training.sources import sources
from runtime.models.training.unfinished import Storage
from runtime.run import new_orders
from runtime.settings import Settings
from telemetry.log import open_log

Doing = Literal["gathering", "training", "judging"]


class Stage(NamedTuple):
    """How far a round is in what it does now."""

    round: int
    doing: Doing
    done: float
    of: float
    """In moves, steps or pairs; 0 where the end is not known."""
    said: str = ""


Told = Callable[[Stage], None]
Said = Callable[[str], None]
"""Is told what people should know and nothing stops for."""


def fleet_of(settings: Settings, course: Course) -> Fleet:
    """One host, as the training needs CPUs beside it, unless the settings ask for several."""
    wave = max(course.file.scenario.sessions, course.settings.pairs[0])
    return Fleet(settings, new_orders(course.file, sessions=wave) if settings.hosts else ())


def learn(
    fleet: Fleet, course: Course, *, rounds: int, told: Told = lambda _: None, said: Said = lambda _: None
) -> Iterator[Round]:
    """So many rounds, one that was cut off first; each as it is decided. Raises `Stopped`, which says how to go on."""
    for _ in range(rounds):
        yield _Turn(fleet, course, told, said).run()


@dataclass(frozen=True, slots=True)
class _Turn:
    """One round, from where the log says that it stands to its verdict."""

    fleet: Fleet
    course: Course
    told: Told
    said: Said

    def run(self) -> Round:
        stands = self._history()
        number = stands.number
        if stands.open is None:
            with _stopping(number, "its sessions ran", "every session rests at its last commit"):
                self._gather(number, stands.since)
            with _stopping(number, "its model was trained", "the sessions are whole, and no model was changed"):
                self._train(number)
        candidate = self._history().open
        if candidate is not None:  # else a fleet that learns the same by itself has judged it meanwhile
            kept = f"{candidate.model} is kept, with the pairs that ran"
            with _stopping(number, f"{candidate.model} was judged", kept):
                self._judge(candidate)
        return self._history().rounds[-1]

    def _history(self) -> History:
        with closing(open_log(self.fleet.url, mode="read", create=False)) as log:
            return history(log, self.course.name)

    def _gather(self, number: int, since: int) -> None:
        wanted = self.course.settings.transitions

        def told(moves: int, status: RunStatus | None) -> None:
            self.told(Stage(number, "gathering", moves, wanted, "" if status is None else _sessions(status)))

        gather(self.fleet, self.course.file, wanted=wanted, since=since, source=self.course.source, told=told)

    def _train(self, number: int) -> None:
        from runtime.models.training.learn_from import learn_from  # loads torch

        with closing(open_log(self.fleet.url, mode="read")) as log:
            chosen = sources(log, scenario=self.course.file.scenario.name)
        order = order_of(self.course, chosen, number=number)
        watch = Watch(told=lambda told: self.told(_trained_so_far(number, told)))
        learn_from(
            self.fleet.url,
            chosen,
            order,
            registry=registry_of(self.fleet.settings),
            storage=Storage.of(self.fleet.settings),
            watch=watch,
            said=self.said,
        )

    def _judge(self, candidate: Round) -> None:
        """By pairs of sessions, unless it is rejected for what it is."""
        with closing(open_log(self.fleet.url, mode="read")) as log:
            incumbent = incumbent_of(log, self.course.name, self.course.file)
        if reject_unfit(self.fleet.url, candidate, incumbent=incumbent) is not None:
            return
        trial = Trial(self.course.file, candidate=candidate.model, incumbent=incumbent, source=self.course.source)
        registry = registry_of(self.fleet.settings)
        judged = _Judging(self, candidate.number, trial.settings.pairs)
        evaluation = evaluate(trial, url=self.fleet.url, registry=registry, run=judged.run, told=judged.looked)
        settle(trial, evaluation, url=self.fleet.url, registry=registry, share=self.course.settings.canary)


@dataclass(slots=True)
class _Judging:
    """Pairs of sessions, as they are counted for whoever watches."""

    turn: _Turn
    number: int
    looks: Sequence[int]
    look: int = 0

    def looked(self, _: Look) -> None:
        self.look += 1

    def run(self, orders: Sequence[SessionOrder]) -> Ran:
        aim = self.looks[min(self.look, len(self.looks) - 1)]

        def watch(status: RunStatus) -> None:
            self.turn.told(Stage(self.number, "judging", aim - status.running / 2, aim))

        return self.turn.fleet.run(orders, watch=watch)


def _trained_so_far(number: int, told: Trained) -> Stage:
    looked = told.looked
    missed = "" if looked is None else f"loss {looked.loss:.2f}, misses {looked.held_out:.0%} of what changes"
    return Stage(number, "training", told.step, told.of, missed)


def _sessions(status: RunStatus) -> str:
    return f"{status.sessions - status.running}/{status.sessions} sessions ended"


@contextmanager
def _stopping(number: int, doing: str, intact: str) -> Iterator[None]:
    """What fails inside says what is intact and how to go on."""
    try:
        yield
    except (*EXPECTED, OSError) as error:
        raise Stopped(
            f"round {number} stopped while {doing}: {error}\nIntact: {intact}. The same command goes on there",
            exit_code=Unavailable.exit_code if isinstance(error, OSError) else exit_code_of(error),
        ) from error
