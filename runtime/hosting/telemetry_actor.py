"""What follows the log beside the sessions of a driver, as an actor of its own on the driver's node, where a SQLite log
and the cursors lie.

Knows Ray; what follows and how, `runtime.telemetry.following` knows. Invariant: sessions neither wait for it nor end
with it, and it takes from their cores only what they leave."""

from __future__ import annotations

import os
from typing import Final, cast

import ray
from ray import ObjectRef
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from runtime.hosting.pools import Handle
from runtime.hosting.room import here
from runtime.settings import Settings, log_url, standard_variables, take_variables
from runtime.telemetry.following import JOIN_S, LAST_S, Following, Told, makers
from telemetry.log.latency import Latencies
from telemetry.otel.export.follower import Lag

NICENESS: Final = 10
"""Its weight against a session host's is about 1 to 10 where both want the same core."""
CALLS: Final = 4
START_S: Final = 60.0
"""How long its process may take to come: an idle machine has it in two seconds, a busy one after a short run's end."""
END_S: Final = START_S + LAST_S + 2 * JOIN_S
"""How long the driver waits for its end, which takes up to `LAST_S` and `JOIN_S` once it has come."""

Lags = list[tuple[str, Lag]]


class TelemetryActor:
    def __init__(self, url: str, settings: Settings, variables: dict[str, str]) -> None:
        """`variables`: the standard ones of the driver's process, whose node's may be others."""
        os.nice(NICENESS)
        take_variables(variables)
        self._told = Told()
        self._following = Following(url, makers(settings, self._told))
        self._told.standings = self._following.standings

    def lags(self, appends: Latencies) -> Lags:
        """`appends`: how long those took that the sessions beside it waited for."""
        self._told.hear(appends)
        return self._following.lags()

    def finish(self, appends: Latencies) -> Lags:
        self._told.hear(appends)
        return self._following.finish()


class RunningTelemetry:
    """The actor as its driver sees it."""

    def __init__(self, settings: Settings) -> None:
        """Asks Ray for it and does not wait for it. Raises `UsageError` for settings that cannot be meant."""
        makers(settings)
        options = ray.remote(TelemetryActor).options(
            num_cpus=0,
            max_restarts=-1,
            max_task_retries=-1,  # what it was asked when it was killed, whoever comes back is asked
            max_concurrency=CALLS,
            scheduling_strategy=here(),
        )
        self._actor = cast("Handle", options.remote(log_url(settings), settings, standard_variables()))
        self._asked: ObjectRef[Lags] | None = None
        self._lags: Lags = []

    def words(self, appends: Latencies) -> str | None:
        """How far behind it was when it last said so; None when it is not worth a word. Waits for nothing. `appends`:
        how long those took that the sessions waited for."""
        if self._asked is None:
            self._asked = self._actor.lags.remote(appends)
        elif ray.wait([self._asked], timeout=0)[0]:
            asked, self._asked = self._asked, None
            try:
                self._lags = ray.get(asked)
            except RayActorError:
                pass
            except RayTaskError as error:  # a mistake of ours there, which is no session's
                self._lags = [("telemetry", Lag(0, 0.0, _mistake(error)))]
        return "; ".join(_words(name, lag) for name, lag in self._lags if lag.why) or None

    def finish(self, appends: Latencies) -> list[str]:
        """Waits until all is out, or nothing gets on any more, and ends it. Returns what waits for the next run."""
        lags: Lags = []
        try:
            lags = ray.get(self._actor.finish.remote(appends), timeout=END_S)
        except (GetTimeoutError, RayActorError):
            return ["telemetry: its process did not end in time; what waits goes out with the next run"]
        except RayTaskError as error:
            return [f"telemetry: {_mistake(error)}; what waits goes out with the next run"]
        finally:
            self.kill()
        return [
            f"{_words(name, lag)}. It goes out with the next run, or with: aether trace export"
            for name, lag in lags
            if lag.events or lag.why
        ]

    def kill(self) -> None:
        ray.kill(self._actor)


def start_telemetry(settings: Settings) -> RunningTelemetry | None:
    """None where the settings want nothing beside the sessions."""
    return RunningTelemetry(settings) if makers(settings) else None


def _words(name: str, lag: Lag) -> str:
    return f"{name}: " + " · ".join(part for part in (str(lag) if lag.events else "", lag.why) if part)


def _mistake(error: RayTaskError) -> str:
    return f"{type(error.cause).__name__}: {error.cause}"
