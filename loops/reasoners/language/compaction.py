"""What of a conversation is left out when it passes its budget, and what stands in its place.

Knows turns; asks no model. Invariants: an exchange is left out whole, so no result is parted from its call; what was
asked last and the latest turns stay; the same turns give the same summary."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence

from loops.context import Context
from loops.dialogue import Dialogue, Turn
from loops.reasoners.language.messages import asked_last
from loops.reasoners.language.settings import ContextSettings
from telemetry.events import sense

COMPACTED_SHARE = 0.5
"""Of the budget that is left in use, so that the next compaction is many cycles away and the endpoint can keep its
cache of the prompt's beginning until then."""

SUMMARY_CHARACTERS = 2_000
"""The most that stands for everything left out: some 500 tokens, the smallest budget there is."""

QUOTED_CHARACTERS = 160
"""The most that is quoted of one message."""


def compact(
    context: Context, limits: ContextSettings, tokens: Callable[[Context], int]
) -> sense.ContextCompacted | None:
    """What to leave out of the conversation; nothing while `tokens` of it are within the budget, or when all that is
    over it are the latest turns."""
    before = tokens(context)
    if before <= limits.budget_tokens:
        return None
    parts = exchanges(context.scene.dialogue)
    kept, most = 0, len(parts)
    while most and kept < limits.keep_turns:
        most -= 1
        kept += len(parts[most])
    task = asked_last(context.scene.dialogue)
    # An event that is not on disk yet has no id that could be named.
    old = [part for part in parts[:most] if task not in part and part[0].event]
    if not old:
        return None

    def without(count: int) -> sense.ContextCompacted:
        gone = [turn for part in old[:count] for turn in part]
        return sense.ContextCompacted(
            policy="oldest",
            before_tokens=before,
            after_tokens=0,
            dropped=tuple(dict.fromkeys(turn.event for turn in gone)),
            summary=summary(context.scene.summary, gone),
        )

    def left(count: int) -> int:
        return tokens(context.after([without(count)]))

    target = int(limits.budget_tokens * COMPACTED_SHARE)
    count = 1 + bisect_left(range(1, len(old)), True, key=lambda n: left(n) <= target)
    return without(count).model_copy(update={"after_tokens": left(count)})


def exchanges(dialogue: Dialogue) -> list[Dialogue]:
    """The conversation in parts that can be left out whole: turns of one event, a call with its results."""
    parts: list[list[Turn]] = []
    for turn in dialogue:
        if parts and (turn.role == "tool" or turn.event == parts[-1][-1].event):
            parts[-1].append(turn)
        else:
            parts.append([turn])
    return [tuple(part) for part in parts]


def summary(before: str, gone: Sequence[Turn]) -> str:
    """`before`, extended by what was asked, said and done in `gone`: its first line stays, then the latest that fit."""
    lines = before.splitlines()
    asked = [turn.text for turn in gone if turn.role == "user"]
    if not lines:
        lines.append(f"First asked: {_quoted(asked[0])}" if asked else "It began without a question.")
        asked = asked[1:]
    lines += [f"Then asked: {_quoted(text)}" for text in asked]
    done = Counter(turn.tool for turn in gone if turn.role == "tool")
    failed = Counter(turn.tool for turn in gone if turn.role == "tool" and turn.failed)
    tools = ", ".join(
        f"{_plain(tool)} {n}" + (f" ({failed[tool]} failed)" if failed[tool] else "")
        for tool, n in sorted(done.items())
    )
    said = next((turn.text for turn in reversed(gone) if turn.role == "assistant" and turn.text), "")
    lines.append(f"{len(gone)} turns" + (f"; calls: {tools}" if tools else ""))
    if said:
        lines.append(f"Last answered: {_quoted(said)}")
    kept: list[str] = []
    room = SUMMARY_CHARACTERS - len(lines[0]) - len("\n…\n")
    for line in reversed(lines[1:]):
        room -= len(line) + 1
        if room < 0 or line == "…":
            kept.append("…")
            break
        kept.append(line)
    return "\n".join((lines[0], *reversed(kept)))


def _quoted(text: str) -> str:
    return f"“{_plain(text)}”"


def _plain(text: str) -> str:
    """On one line, and not long."""
    line = " ".join(text.split())
    return line if len(line) <= QUOTED_CHARACTERS else f"{line[:QUOTED_CHARACTERS]} …"
