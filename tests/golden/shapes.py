"""One event of every type that the recorded sessions of this folder do not hold, with every field filled in.

`python -m tests.golden.record shapes-N` writes those of which no golden log holds today's shape yet."""

from __future__ import annotations

from telemetry.events import Event, execute, learn, privacy, reason, sense, session, system
from telemetry.events.values import Array, AskHuman, Playbook, ToolResult, Usage, Weighed

ONE, TWO = "1" * 64, "2" * 64
OLD, NEW = f"gate@{ONE}", f"gate@{TWO}"
RESULT = ToolResult(call="1", tool="refund", content={"refunded": 12.5, "lines": ["a", None, True]})

SHAPES: tuple[Event, ...] = (
    session.Suspended(reason="waiting for approval of a refund", cycles=3, state_hash=ONE),
    session.Resumed(after="suspended", owner="pid 7 on host-b", verified_to=41),
    sense.ContextCompacted(
        policy="drop_oldest", before_tokens=9000, after_tokens=4000, dropped=("session/a@3",), summary="Früher."
    ),
    reason.Unanswered(
        call=1,
        endpoint="main",
        model="m",
        kind="cut",
        status=200,
        attempts=2,
        error="the stream ended early",
        text="I will",
        usage=Usage(model_calls=2, input_tokens=10, output_tokens=3, cost_usd=0.25),
    ),
    reason.Planned(
        model="maze@1f0c44d2a9be",
        belief=ONE,
        options=(
            Weighed(proposal=0, energy=3.25, pragmatic=3.5, epistemic=0.5, probability=0.625),
            Weighed(proposal=1, energy=4.5, pragmatic=4.5, epistemic=0.0, probability=0.25),
        ),
        latent=Array.of([0.5, -1.25, 2.0], dtype="float32"),
        goal=Array.of([0.75, -0.5], dtype="float32"),
    ),
    execute.ApprovalAsked(
        effect=ONE, ordinal=1, action=AskHuman(question="may I?"), arguments=TWO, why="above 100", until=2**61
    ),
    execute.ApprovalGiven(effect=ONE, ordinal=1, arguments=TWO, granted=True, by="dora", why="she has the receipt"),
    execute.Cancelled(effect=ONE, ordinal=1, why="nobody answered in time"),
    execute.Failed(effect=ONE, ordinal=2, kind="invalid", error="it answered NaN"),
    execute.UnknownOutcome(effect=TWO, ordinal=1, why="its executor died"),
    execute.Reconciled(
        effect=TWO, cycle=2, ordinal=1, happened=True, by="dora", why="it is on the statement", result=RESULT
    ),
    learn.Corrected(retry_of="session/a@9", why="the first was misread"),
    learn.DatasetBuilt(recipe="pairs", pinned_position=120, rows=17, digest=ONE),
    learn.Forgotten(memory="session/a@5", why="it was a misunderstanding"),
    learn.ModelTrained(
        model=NEW, from_position=1, to_position=120, data=ONE, config={"rate": 0.1}, code="0.1.0", metrics={"loss": 0.5}
    ),
    learn.TrainingProgressed(
        model="gate", run="7f3a", step=40, steps=100, loss=0.5, parts={"ahead": 0.25}, held_out=0.75, workers=2
    ),
    learn.ModelEvaluated(model=NEW, incumbent=OLD, scenario="gates", pairs=40, figures={"gain": 0.04}),
    learn.ModelAdopted(model=NEW, before=None, why="promoted"),
    learn.ModelPromoted(model=NEW, incumbent=OLD, figures={"gain": 0.04}),
    learn.ModelRejected(model=NEW, incumbent=OLD, figures={"gain": -0.04}, why="worse on refunds"),
    learn.ModelRolledBack(model=NEW, to=OLD, why="complaints"),
    learn.PlaybookWritten(
        playbook=Playbook(name="refunds", prompt="Be brief.", strategies=("ask first",), tools=("refund",)),
        previous=OLD,
        why="asked for",
    ),
    learn.StrategyAdjusted(strategy="explore", before=None, after=[0.5, "wide"], why="stuck"),
    privacy.ConsentGranted(subject="dora", purposes=("service", "training")),
    privacy.ConsentWithdrawn(subject="dora", purposes=("training",)),
    privacy.SubjectErased(subject="dora", keys=("k1", "k2")),
    system.Pruned(
        stream="session/a",
        first=1,
        version=40,
        hash=ONE,
        epoch=2,
        log="7b0c",
        archive="session%2Fa.parquet",
        digest=TWO,
    ),
    system.Restored(
        stream="session/a",
        first=11,
        version=40,
        hash=TWO,
        epoch=1,
        whole=False,
        log="7b0c",
        archive="session%2Fa.parquet",
    ),
)
