"""How the moment feels: three small figures computed from reward, surprise and the heart's own judgements.

It is a read-out for people and for later learning; it is not an emotion model, it is not calibrated against
anyone's report, and nothing in this cut acts on it. Knows numbers and rules; knows nothing of time: no mood
is carried over."""

from __future__ import annotations

import math
from collections.abc import Sequence

from heart.rules import Rule
from telemetry.events.feel import Felt
from telemetry.events.values import Appraisal


def felt(
    *,
    reward: float | None,
    success: bool | None,
    percentile: float | None,
    appraisals: Sequence[Appraisal] = (),
    rules: Sequence[Rule] = (),
) -> Felt:
    """Valence, arousal and virtues at one moment, after the circumplex (Russell, *A circumplex model of
    affect*, J. Pers. Soc. Psychol. 39(6), 1980), whose two axes these are.

    Valence is 1 on success, else tanh of the last `reward` (0 without one): its sign, and its size against 1.
    False or None as `success` both mean "not yet". Arousal is the `percentile` of the last surprise, 0 when
    nothing had been predicted. Each virtue a rule declares gets the share of the appraised proposals that its
    rules touched, 0 when nothing was proposed."""
    virtues = {rule.virtue for rule in rules if rule.virtue is not None}
    return Felt(
        valence=1.0 if success else math.tanh(reward or 0.0),
        arousal=percentile or 0.0,
        virtues={virtue: _share(virtue, appraisals, rules) for virtue in sorted(virtues)},
    )


def _share(virtue: str, appraisals: Sequence[Appraisal], rules: Sequence[Rule]) -> float:
    speaking = {rule.id for rule in rules if rule.virtue == virtue}
    proposals = [appraisal for appraisal in appraisals if appraisal.of == "proposal"]
    touched = sum(any(ground.rule in speaking for ground in appraisal.grounds) for appraisal in proposals)
    return touched / len(proposals) if proposals else 0.0
