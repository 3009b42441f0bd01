"""A recorded decision and the one that the policy takes in the same situation.

Knows both scenes; runs nothing. Invariant: "same" means that what came of the recorded decision is what would come of
the policy's: the action is equal as the world acts on it, and so is whether a person had to allow it."""

from __future__ import annotations

from collections.abc import Iterable

from loops.scene import Scene
from loops.spaces import Spaces
from runtime.rerun.think import Thought
from runtime.rerun.values import Kind
from runtime.why import shortened, told
from telemetry.events import reason
from telemetry.events.values import Action, Appraisal, Array, Digest, Move, Verdict


def compare(spaces: Spaces, recorded: Scene, thought: Thought) -> tuple[Kind, str]:
    """What the policy's decision is beside the recorded one, and why in words, '' where they are the same."""
    kind, why = _compared(spaces, recorded, thought.scene)
    if not thought.gap:
        return kind, why
    if kind in ("same", "otherwise"):
        return "not_comparable", thought.gap
    return kind, f"{why}; {thought.gap}"


def _compared(spaces: Spaces, recorded: Scene, own: Scene) -> tuple[Kind, str]:
    was, would = recorded.decided, own.decided
    assert was is not None, "only a decision is compared"
    assert would is not None, "a policy always decides, if only to wait"
    key = spaces.action.key(would.action)
    if spaces.action.key(was.action) == key:
        return _allowed_alike(recorded, own, was, would)
    held_back = _held_back(spaces, own, was.action)
    if held_back is not None:
        return (
            "refused",
            f"heart: {_rules([held_back])} holds back {_words(was.action)}; instead: {_words(would.action)}",
        )
    before = _held_back(spaces, recorded, would.action)
    if before is not None:
        allows = f"heart: allows {_words(would.action)}, which {_rules([before])} held back"
        return "allowed", f"{allows}; done was: {_words(was.action)}"
    return "otherwise", f"reasoner: {_words(would.action)} instead of {_words(was.action)}"


def _allowed_alike(recorded: Scene, own: Scene, was: reason.Decided, would: reason.Decided) -> tuple[Kind, str]:
    """Of equal actions: whether they needed a person's leave alike, or had it anyway."""
    needed, needs = _verdict(was) == "ask", _verdict(would) == "ask"
    if needs and not needed:
        asking = _rules(a for a in own.appraisals if a.proposal == would.proposal)
        return "asked", f"heart: {asking} asks a person about {_words(was.action)}"
    granted = recorded.approval is not None and recorded.approval.granted
    if needed and not needs and not granted:
        answered = "nobody had answered yet" if recorded.approval is None else "a person had refused"
        return "allowed", f"heart: {_words(was.action)} needs nobody's leave, which {answered}"
    return "same", ""


def _verdict(decided: reason.Decided) -> Verdict:
    """Of what was decided; what is no proposal is the heart's own."""
    return next((option.verdict for option in decided.options if option.proposal == decided.proposal), "allow")


def _held_back(spaces: Spaces, scene: Scene, action: Action) -> Appraisal | None:
    """The appraisal that kept `action` from being decided in `scene`; None where nothing did."""
    assert scene.decided is not None
    key: Digest = spaces.action.key(action)
    for proposed, appraisal in zip(scene.proposals, scene.appraisals, strict=True):
        if proposed.proposal == scene.decided.proposal:
            return None  # those after it were not looked at
        if spaces.action.key(proposed.action) == key:
            return appraisal if appraisal.verdict != "allow" else None
    return None


def _rules(appraisals: Iterable[Appraisal]) -> str:
    names = dict.fromkeys(ground.rule for appraisal in appraisals for ground in appraisal.grounds)
    return f"the rule {', '.join(names)}" if len(names) == 1 else f"the rules {', '.join(names)}"


def _words(action: Action) -> str:
    if isinstance(action, Move) and isinstance(action.to, Array):
        return f"move [{', '.join(f'{value:.7g}' for value in action.to.numpy().ravel())}]"  # float32 has 7 digits
    return shortened(told(action))
