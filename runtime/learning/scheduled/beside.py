"""A fleet that learns while it runs: trains when its schedule says so, judges what it trained, and follows a canary.

Knows the order of things, each done by a module of its own, in a thread of the driver; its sessions never wait for it.
Invariant: what is to be done next follows from the log, so whoever comes later goes on there; and of all processes of
one home at most one learns at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from types import TracebackType
from typing import Final, Self

from runtime.entry import stream_of_model
from runtime.errors import EXPECTED
from runtime.learning.candidate import order_of, reject_unfit
from runtime.learning.course import Course
from runtime.learning.fleet import Watch
from runtime.learning.history import Round, history
from runtime.learning.judging.evaluate import evaluate
from runtime.learning.judging.promotion import settle
from runtime.learning.judging.sequential import Design
from runtime.learning.judging.trial import Trial
from runtime.learning.scheduled.alone import Alone
from runtime.learning.scheduled.canary import Flight, flight_of
from runtime.learning.scheduled.canary import settle as settle_canary
from runtime.learning.scheduled.handed import Handed, RunEnds, Starts
from runtime.learning.scheduled.schedule import MARKS, Sessions, Tally, mark_of
from runtime.models.registry.store import registry_of
from runtime.models.standing import incumbent as incumbent_of
from runtime.models.training.learn_from import learn_from
from runtime.models.training.order import Told
from runtime.models.training.order import Watch as Watching
from runtime.models.training.sources import sources
from runtime.models.training.unfinished import Storage
from runtime.settings import Settings, log_url
from telemetry.log import EventLog, open_log

LOOK_S: Final = 1.0
"""How often the log is asked what came since."""

RETRY_S: Final = 60.0
"""How long a scenario rests whose learning failed, such as for want of room or of transitions."""

Said = Callable[[str], None]


class Beside:
    """A context around a run. What it raises at its end is a mistake of ours; what is missing or fails, `said` hears,
    and the sessions go on."""

    def __init__(self, hosts: Starts, settings: Settings, courses: Sequence[Course], *, said: Said) -> None:
        self._ends = threading.Event()
        self._fault: BaseException | None = None
        self._said = said
        self._alone = Alone(settings.home.expanduser() / "training")
        self._turns = [Turn(hosts, settings, course, self._ends, said) for course in courses]
        self._thread = threading.Thread(target=self._work, name="learning", daemon=True)

    @property
    def doing(self) -> str | None:
        """What is learnt now, in words."""
        return next((turn.doing for turn in self._turns if turn.doing), None)

    def watching(self, watch: Watch) -> Watch:
        """As `watch`, with what is learnt."""
        return lambda status: watch(status.model_copy(update={"learning": self.doing}))

    def __enter__(self) -> Self:
        if self._turns:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends what is under way: a training keeps its best so far, an evaluation what ran."""
        self._ends.set()
        if self._turns:
            self._thread.join()
        if self._fault is not None and error is None:
            raise self._fault

    def _work(self) -> None:
        try:
            self._learn()
        except (RunEnds, KeyboardInterrupt):  # the latter from a training that had nothing good to keep yet
            pass
        except BaseException as fault:  # noqa: BLE001  raised again in the thread that waits for this one
            self._fault = fault
        finally:
            self._alone.release()

    def _learn(self) -> None:
        elsewhere = False
        while not self._ends.wait(LOOK_S):
            if not self._alone.held():
                if not elsewhere:
                    self._said(f"learning: {self._alone.holder()} learns already; this run only waits for its turn")
                elsewhere = True
                continue
            for turn in self._turns:
                turn.take()


class Turn:
    """One course, from where the log says that it stands."""

    def __init__(self, hosts: Starts, settings: Settings, course: Course, ends: threading.Event, said: Said) -> None:
        self.doing: str | None = None
        self._hosts = hosts
        self._settings = settings
        self._course = course
        self._ends = ends
        self._said = said
        self._registry = registry_of(settings)
        self._url = log_url(settings)
        self._not_before = 0.0
        self._word = -1
        """Version of the latest word on the model; the next three follow from the log up to it."""
        self._candidate: Round | None = None
        self._tally: Tally | None = None
        self._flight: Flight | None = None

    def take(self) -> None:
        """Does what is due, if anything is. Raises `RunEnds` where the run ends meanwhile."""
        if time.monotonic() < self._not_before:
            return
        try:
            with closing(open_log(self._url, mode="read")) as log:
                self._take(log)
        except EXPECTED as error:
            self._not_before = time.monotonic() + RETRY_S
            self._said(f"learning: {self._course.name} rests for {RETRY_S:g} s: {error}")
        finally:
            self.doing = None if self._flight is None else self.doing

    def _take(self, log: EventLog) -> None:
        self._renew(log)
        if self._flight is not None:
            self._follow(log, self._flight)
            return
        if self._candidate is not None:
            self._judge(log, self._candidate)
            return
        assert self._tally is not None, "it is renewed with every word on the model"
        self._tally.follow(log)
        if self._tally.due is not None:
            self._train(log, self._tally.due)

    def _renew(self, log: EventLog) -> None:
        """Begins to count anew where the log has a new word on the model."""
        name = self._course.name
        stream = stream_of_model(name)
        word = None if log.head(stream) is None else next(log.read_back(stream, types=MARKS), None)
        version = 0 if word is None else word.version
        if version != self._word:
            self._word = version
            self._candidate = history(log, name).open
            self._flight = flight_of(log, self._course.file, name)
            sessions = Sessions(log, self._course.file.scenario.name)
            self._tally = Tally(self._course.settings.schedule, mark_of(log, name), sessions)

    def _follow(self, log: EventLog, flight: Flight) -> None:
        flight.follow(log)
        ours = sum(canary for canary, _ in flight.ended)
        self.doing = f"canary {flight.canary.model}, {ours} episodes against {len(flight.ended) - ours}"
        judgement = flight.judge(Design(looks=self._course.settings.pairs))
        if settle_canary(flight, judgement, url=self._url, registry=self._registry) is not None:
            done = "goes to all sessions" if judgement.decision == "promote" else "is rolled back"
            self._said(f"learning: {flight.canary.model} {done}: {judgement.why}")

    def _train(self, log: EventLog, why: str) -> None:
        self._said(f"learning: {self._course.name} is trained: {why}")
        self.doing = f"training {self._course.name}"
        chosen = sources(log, scenario=self._course.file.scenario.name)
        order = order_of(self._course, chosen, number=history(log, self._course.name).number)
        watch = Watching(told=self._trained, stop=self._ends.is_set)
        storage = Storage.of(self._settings)
        learn_from(self._url, chosen, order, registry=self._registry, storage=storage, watch=watch, said=self._said)

    def _trained(self, told: Told) -> None:
        far = f" {told.step / told.of:.0%}" if told.of else f", step {told.step:,}"
        self.doing = f"training {self._course.name}{far}"

    def _judge(self, log: EventLog, candidate: Round) -> None:
        """By pairs of sessions beside those that run, unless it is rejected for what it is."""
        incumbent = incumbent_of(log, self._course.name, self._course.file)
        if (why := reject_unfit(self._url, candidate, incumbent=incumbent)) is not None:
            self._said(f"learning: {candidate.model} is rejected: {why}")
            return
        trial = Trial(self._course.file, candidate.model, incumbent, source=self._course.source)
        self.doing = f"judging {candidate.model}"

        def told(over: int) -> None:
            self.doing = f"judging {candidate.model}, {over} sessions of this look are over"

        run = Handed(self._hosts, stop=self._ends.is_set, told=told)
        evaluation = evaluate(trial, url=self._url, registry=self._registry, run=run)
        share = self._course.settings.canary
        settle(trial, evaluation, url=self._url, registry=self._registry, share=share)
        done = "promoted" if evaluation.judgement.decision == "promote" else "rejected"
        self._said(f"learning: {candidate.model} is {done}: {evaluation.judgement.why}")
