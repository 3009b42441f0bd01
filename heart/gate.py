"""The gate: judges what was asked and each proposal by the rules, and takes the best that may pass.

Knows rules, actions and named arrays; knows nothing of who forecasts or of what is done afterwards.
Invariant: `select` never takes a refused proposal, and one that needs asking only to ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from heart.conditions import hold
from heart.errors import RegionMismatch
from heart.rules import HeartSettings, Region, Rule
from telemetry.events.values import Action, Appraisal, Digest, Ground, Move, ToolCall, ToolCalls, Verdict

Seen = Mapping[str, NDArray[np.generic]]
"""What is seen or forecast by name, numeric, in the environment's units."""

Forecast = Callable[[Action], Seen]
"""What would be seen after an action; for an action that moves nothing, what is seen now."""

_SEVERITY: Final[dict[Verdict, int]] = {"allow": 0, "ask": 1, "refuse": 2}


@dataclass(frozen=True, slots=True)
class Selection:
    """What the gate lets through: `proposal` to do ("allow") or to ask about ("ask"); None when nothing
    ("refuse").

    `inhibited` are the better ranked appraisals that were held back, best first."""

    proposal: int | None
    verdict: Verdict
    inhibited: tuple[Appraisal, ...] = ()


class Gate:
    """Judges by the rules of one scenario. Holds no state, so one gate serves any number of sessions."""

    def __init__(self, settings: HeartSettings) -> None:
        self.settings = settings

    @property
    def needs_forecast(self) -> bool:
        """Whether a rule looks ahead, so that `appraise` must be handed a forecast."""
        return any(_looks_ahead(rule) for rule in self.settings.rules)

    def check(self, seen: Seen, *, forecast: Seen | None) -> None:
        """Raises `RegionMismatch` when a rule's region names a part or element that is not there.

        For the start of a session: `seen` is a first observation, `forecast` what forecasts will be shaped
        like, None when there will be none."""
        for rule in self.settings.rules:
            if rule.region is None:
                continue
            if not _looks_ahead(rule):
                _inside(rule, rule.region, seen)
            elif forecast is None:
                raise _no_forecast(rule)
            else:
                _inside(rule, rule.region, forecast)

    def appraise_request(self, texts: Sequence[str], seen: Seen) -> tuple[Appraisal, tuple[str, ...]]:
        """Judges what was asked, and the constraints in words that bind the reasoning that follows.

        The constraints are the reasons of all rules that could apply to some action in this situation. The
        verdict is that of the rules which apply now to every action, so to whatever was asked. `texts` are
        not read in this cut: rules speak of moves, tools and regions, not of words."""
        near = [rule for rule in self.settings.rules if not _elsewhere(rule, seen)]
        standing = [rule for rule in near if rule.actions is None and rule.tools is None and not _looks_ahead(rule)]
        appraisal = Appraisal(of="request", verdict=_worst(standing), grounds=_grounds(standing))
        return appraisal, tuple(dict.fromkeys(rule.reason for rule in near))

    def appraise(
        self,
        proposal: int,
        action: Action,
        arguments: Digest,
        *,
        seen: Seen,
        forecast: Forecast | None,
        person: str | None = None,
    ) -> Appraisal:
        """Judges one proposal; `arguments` is the digest of its action. Grounds list every rule that applies.

        Nothing but the action, the rules, the arrays and `person`, whom the session serves, bears on it: no text
        that was observed can grant or change anything.

        `forecast` is called at most once, and only when a rule turns on it. Raises `RegionMismatch` when a
        region names what is not there, or looks ahead and `forecast` is None."""
        ahead: Seen | None = None
        applying = []
        for rule in self.settings.rules:
            if not _names(rule, action, person):
                continue
            if rule.region is not None:
                at = seen
                if _looks_ahead(rule):
                    if forecast is None:
                        raise _no_forecast(rule)
                    ahead = forecast(action) if ahead is None else ahead
                    at = ahead
                if not _inside(rule, rule.region, at):
                    continue
            applying.append(rule)
        return Appraisal(
            of="proposal",
            verdict=_worst(applying),
            proposal=proposal,
            arguments=arguments,
            grounds=_grounds(applying),
        )

    def offer_for(self, appraisal: Appraisal) -> str | None:
        """What is said instead of what was held back: the offer of the first of its grounds that has one."""
        offers = {rule.id: rule.offer for rule in self.settings.rules}
        return next((offer for ground in appraisal.grounds if (offer := offers.get(ground.rule))), None)

    def select(self, appraisals: Sequence[Appraisal]) -> Selection:
        """Walks the appraisals of all proposals, ranked best first, to the first that may pass.

        A refused one is held back. One that needs asking is taken to be asked about (`on_ask = "wait"`), held
        back ("safest"), or ends the walk with nothing done ("refuse")."""
        inhibited: list[Appraisal] = []
        for appraisal in appraisals:
            assert appraisal.proposal is not None, "a request's appraisal among those of proposals"
            asks = appraisal.verdict == "ask"
            if appraisal.verdict == "allow" or (asks and self.settings.on_ask == "wait"):
                return Selection(appraisal.proposal, appraisal.verdict, tuple(inhibited))
            inhibited.append(appraisal)
            if asks and self.settings.on_ask == "refuse":
                break
        return Selection(None, "refuse", tuple(inhibited))


def _looks_ahead(rule: Rule) -> bool:
    return rule.region is not None and rule.region.at == "forecast"


def _elsewhere(rule: Rule, seen: Seen) -> bool:
    """Whether the rule binds to a place and we are not there; a rule that looks ahead may bind from
    anywhere."""
    return rule.region is not None and not _looks_ahead(rule) and not _inside(rule, rule.region, seen)


def _names(rule: Rule, action: Action, person: str | None) -> bool:
    """Whether the action is one the rule speaks of."""
    if rule.actions is not None:
        return isinstance(action, Move) and isinstance(action.to, int) and action.to in rule.actions
    if rule.tools is not None:
        return isinstance(action, ToolCalls) and any(_calls(rule, call, person) for call in action.calls)
    return True


def _calls(rule: Rule, call: ToolCall, person: str | None) -> bool:
    """Whether the rule speaks of that call; none speaks of one that cannot be made."""
    if rule.tools is None or call.tool not in rule.tools or call.invalid is not None:
        return False
    return hold(rule.where, call.arguments, person=person)


def _inside(rule: Rule, region: Region, seen: Seen) -> bool:
    """Whether the part lies in the box. A NaN cannot be shown to lie outside, so it counts as inside."""
    if region.of not in seen:
        there = ", ".join(sorted(seen)) or "nothing numeric"
        raise RegionMismatch(
            f"rule {rule.id!r}: nothing named {region.of!r} at {region.at!r}; there is: {there}. Correct its region.of"
        )
    values = np.asarray(seen[region.of], dtype=np.float64)
    if region.index is not None:
        shape = values.shape
        if len(region.index) != len(shape) or any(i >= n for i, n in zip(region.index, shape, strict=True)):
            raise RegionMismatch(
                f"rule {rule.id!r}: {region.of!r} has shape {shape}; no single element lies at {list(region.index)}"
            )
        values = values[region.index]
    flat = np.ravel(values)
    for bound in (region.low, region.high):
        if isinstance(bound, tuple) and len(bound) != flat.size:
            raise RegionMismatch(
                f"rule {rule.id!r}: {region.of!r} has {flat.size} elements, its bounds list {len(bound)}"
            )
    below = np.zeros(flat.shape, dtype=bool) if region.low is None else flat < np.asarray(region.low)
    above = np.zeros(flat.shape, dtype=bool) if region.high is None else flat > np.asarray(region.high)
    return not bool((below | above).any())


def _worst(rules: Sequence[Rule]) -> Verdict:
    verdicts: list[Verdict] = [rule.verdict for rule in rules]
    return max(verdicts, key=_SEVERITY.__getitem__, default="allow")


def _grounds(rules: Sequence[Rule]) -> tuple[Ground, ...]:
    return tuple(Ground(rule=rule.id, reason=rule.reason) for rule in rules)


def _no_forecast(rule: Rule) -> RegionMismatch:
    return RegionMismatch(
        f"rule {rule.id!r} looks at the forecast, and nothing forecasts here. "
        f'Give the scenario a world model, or set at = "now" in the rule\'s region'
    )
