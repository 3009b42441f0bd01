"""Kinds of rows that tell of the log, of sessions and of their cycles."""

from __future__ import annotations

from typing import Final

from telemetry.query.rows.kinds import FLAG, INT, REAL, SEED, TEXT, TEXTS, TIME, Kind, column, json, maybe

EVENTS: Final = Kind(
    "events",
    "Every event of the log.",
    "with the event",
    (
        column("type", TEXT, "Its stable name, such as `reason.decided`."),
        column("schema", INT, "Version of the payload's shape."),
        column("phase", TEXT, "The part of the type before the point."),
        column("command", TEXT, "The command that caused it."),
        column("ordinal", INT, "Its place in that command."),
        column("elapsed_ns", INT, "How long its command took to come to, on the command's first event; else 0."),
        column("epoch", INT, "Fencing token of the writer."),
        maybe("cause", TEXT, "The event that led to it."),
        column("refs", TEXTS, "What else it rests on: events, `model:NAME@DIGEST`, `rule:NAME`."),
        column("keys", TEXTS, "Ids of the keys of all subjects whose data it holds."),
        column("encoding", TEXT, "How the payload is stored."),
        json("payload", "As recorded, defaults left out; null where it is missing or cannot be read."),
    ),
)


SESSIONS: Final = Kind(
    "sessions",
    "What a session was begun with; a fork has it from the session at the root of its lineage.",
    "with `session.opened` or `session.forked`",
    (
        column("root", TEXT, "The session at the root of its lineage; itself where it is no fork."),
        maybe("parent", TEXT, "The session that it was forked from."),
        maybe("at_version", INT, "The parent's versions up to this one are shared."),
        maybe("scenario", TEXT, "Its name."),
        maybe("scenario_digest", TEXT, "SHA-256 of the scenario file."),
        maybe("environment", TEXT, "Such as `gymnasium:PointMaze_UMaze-v3` or `tools:`."),
        maybe("purpose", TEXT, "`evaluation` is nothing to learn from."),
        maybe("seed", SEED, "Its seed."),
        maybe("cycles", INT, "The most cycles that it may run."),
        json("tools", "Its tools in the form that chat templates take: a list of functions; null without tools."),
        json("playbook", "The playbook that shapes its reasoning."),
        json("spaces", "Observation and action spaces."),
        json("versions", "Versions of our code, of Python and of libraries."),
        maybe("scenario_text", TEXT, "The scenario file as it was read."),
    ),
)


LINEAGE: Final = Kind(
    "lineage",
    "Whose events stand on a session's stream: its own, and of each ancestor those up to where it was cut off.",
    "with `session.opened` or `session.forked`, one row for itself and one an ancestor",
    (
        column("ancestor", TEXT, "A stream."),
        column("to_version", INT, "Its own events up to this version stand on `stream`; of itself all do (2^63-1)."),
    ),
)


CYCLES: Final = Kind(
    "cycles",
    "A cycle as a whole.",
    "when the cycle closes; `event` is what opened it",
    (
        column("opened_at", TIME, "When its first event was appended, UTC."),
        column("duration_ns", INT, "From the beginning of its first command to its close, by the writer's clock."),
        column("elapsed_ns", INT, "What its commands took together."),
        column("events", INT, "How many it has."),
        maybe("observation", TEXT, "Event of what was sensed."),
        maybe("decision", TEXT, "Event of what was decided."),
        maybe("episode", INT, "Of the environment, from 0."),
        maybe("step", INT, "Actions taken in the episode before."),
        maybe("ends_episode", FLAG, "Whether the episode is over with it."),
        maybe("reward", REAL, "What the action brought."),
        maybe("episode_return", REAL, "The sum of rewards of the episode so far."),
        maybe("success", FLAG, "The environment's own word on whether its goal is reached."),
        maybe("error", REAL, "How far the last prediction was off, in observation units."),
        maybe("nats", REAL, "The same as negative log-likelihood, per dimension."),
        maybe("percentile", REAL, "Share of recent surprises that were not above this one."),
        maybe("valence", REAL, "Affect, in [-1, 1]."),
        maybe("arousal", REAL, "Affect, in [0, 1]."),
        json("virtues", "How strongly each virtue was touched, in [0, 1]."),
        column("inhibited", INT, "Proposals that would have been chosen and were held back."),
        column("model_calls", INT, "Requests to models."),
        column("input_tokens", INT, "Tokens that models read."),
        column("output_tokens", INT, "Tokens that models wrote."),
        column("cost_usd", REAL, "US dollars."),
        column("state_hash", TEXT, "Of the state after it."),
        column("reducer", INT, "Version of the reducer that the hash is under."),
    ),
)


PHASES: Final = Kind(
    "phases",
    "What one phase did in a cycle; a phase that is gone through twice is counted once.",
    "when the cycle closes; `event` is the phase's first",
    (
        column("phase", TEXT, "sense, feel, reason, execute or learn."),
        column("events", INT, "How many are of it."),
        column("elapsed_ns", INT, "What its commands took together."),
    ),
)
