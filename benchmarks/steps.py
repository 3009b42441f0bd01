"""What a step is, and who takes steps: ours and the peers' side by side.

A *step* is one fact of PAYLOAD_BYTES on disk. Ours is one event of that payload (`sense.observed`: it is folded into
state and scene, hashed and chained like any other) that a session's journal records, CYCLE of them a cycle. The cycle's
frame (`session.cycle_opened`, `session.cycle_closed` with the state's hash) is the loop's own: it is written and its
time and bytes count, but it is no step. No organ runs. Two rows, told apart by name wherever they are shown:

    cycle    one commit a cycle, at its close: what the architecture allows, because events of pure phases may wait in
             memory for the next barrier. An acknowledged cycle is on disk; of an open one nothing was acknowledged
    commit   a commit after every step, the harder promise: each step is on disk before the next begins

A peer's step is one node or step whose result is PAYLOAD_BYTES, made durable by the peer before the next one begins.
Everything lies in folders of one disk, and each contender keeps one file through all its runs, as its users would."""

from __future__ import annotations

PAYLOAD_BYTES = 200
CYCLE = 5
"""Steps a cycle."""

OURS = "benchmarks.steps_ours"
LANGGRAPH = "benchmarks.steps_langgraph"
DBOS = "benchmarks.steps_dbos"
CONTENDERS = (OURS, LANGGRAPH, DBOS)
"""Modules whose `serving` takes steps."""
