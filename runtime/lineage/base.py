"""The policy of a scenario itself, which stands before any model is promoted.

Knows the ids of `runtime.models.standing`. Invariant: what is told of one follows from the log that it is asked of."""

from __future__ import annotations

from itertools import islice

from runtime.lineage.learnt import MOST_LOOKED
from runtime.lineage.records import Begun, base_of, begun, model_streams, readable
from runtime.lineage.values import Links, Node
from runtime.lineage.words import told
from runtime.models.using import PINNED
from telemetry.events import Recorded
from telemetry.events.learn import ModelEvaluated, ModelPromoted, ModelRejected, ModelRolledBack
from telemetry.events.values import ModelId
from telemetry.log import EventLog

NAMING = ("learn.model_evaluated", "learn.model_promoted", "learn.model_rejected", "learn.model_rolled_back")


def base_of_log(log: EventLog, model: ModelId, *, limit: int) -> Node | None:
    """The policy with that id; None where neither a verdict nor a session of this log is of it."""
    naming = list(_naming(log, model))
    begin = islice(begun(log), MOST_LOOKED)
    acted = [session for session in begin if _is_of(session, model)]
    if not naming and not acted:
        return None
    shown = tuple(Node(one.id, "event", told(one, readable(one))) for one in naming[:limit])
    firsts = tuple(Node(one.recorded.id, "session", told(one.recorded, one.opened)) for one in acted[:limit])
    links = (
        *((Links("named by", shown, len(naming)),) if naming else ()),
        *((Links("begun with in", firsts, len(acted)),) if acted else ()),
    )
    of = f" {acted[0].opened.scenario}" if acted else ""
    return Node(model, "model", f"the policy that the scenario{of} itself describes", links=links)


def _is_of(session: Begun, model: ModelId) -> bool:
    digest = model.rpartition("@")[2]
    if not session.opened.scenario_digest.startswith(digest):
        return False
    base = base_of(session.opened)
    return base == model and session.opened.versions.get(PINNED, base) == model


def _naming(log: EventLog, model: ModelId) -> list[Recorded]:
    """Verdicts that it was the incumbent of, or that went back to it."""
    found = []
    for stream in model_streams(log):
        for recorded in log.read(stream, types=NAMING):
            match readable(recorded):
                case ModelEvaluated(incumbent=of) | ModelPromoted(incumbent=of) | ModelRejected(incumbent=of) if (
                    of == model
                ):
                    found.append(recorded)
                case ModelRolledBack(to=of) if of == model:
                    found.append(recorded)
    return found
