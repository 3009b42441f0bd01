"""The rules a scenario declares: `[heart]`, `[[heart.rules]]`.

Knows what a rule may say; knows nothing of how it is applied. Invariant: a rule that validates could
apply."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from heart.conditions import Condition

OnAsk = Literal["wait", "safest", "refuse"]
"""What to do with a proposal that a person must be asked about: `wait` for the answer, take the best one that
needs no asking (`safest`), or do nothing (`refuse`)."""

Bound = float | tuple[float, ...]
Words = Annotated[str, Field(min_length=1)]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Region(_Settings):
    """An inclusive box in a part of what is seen or forecast, in the part's own units."""

    of: Words
    """The part's name, as the environment names it, or "achieved_goal"."""
    index: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """One element of the part's array; without it every element must lie within the bounds."""
    low: Bound | None = None
    """One number for all elements, or a list with one an element in C order; open when left out."""
    high: Bound | None = None
    """As `low`."""
    at: Literal["now", "forecast"] = "forecast"
    """What is seen now, or what the world model forecasts after the action."""

    @model_validator(mode="after")
    def _bounds_fit(self) -> Region:
        if self.low is None and self.high is None:
            raise ValueError(f"the region of {self.of!r} needs a low or a high bound, or both")
        lists = [bound for bound in (self.low, self.high) if isinstance(bound, tuple)]
        if lists and self.index is not None:
            raise ValueError(
                f"the region of {self.of!r} picks one element with index, so its bounds are single numbers"
            )
        if len(lists) == 2 and len(lists[0]) != len(lists[1]):
            raise ValueError(f"the region of {self.of!r} has {len(lists[0])} low bounds and {len(lists[1])} high ones")
        if not all(lists):
            raise ValueError(f"the region of {self.of!r} has an empty list of bounds")
        for low, high in self._pairs():
            if low > high:
                raise ValueError(f"the region of {self.of!r} is empty: low {low:g} is above high {high:g}")
        return self

    def _pairs(self) -> tuple[tuple[float, float], ...]:
        if self.low is None or self.high is None:
            return ()
        many = max(len(bound) if isinstance(bound, tuple) else 1 for bound in (self.low, self.high))
        low, high = (bound if isinstance(bound, tuple) else (bound,) * many for bound in (self.low, self.high))
        return tuple(zip(low, high, strict=True))


class Rule(_Settings):
    """What is refused or must be asked about, and why. It applies when everything it gives matches."""

    id: Words
    """The name that grounds and refs carry."""
    verdict: Literal["refuse", "ask"] = "refuse"
    """What becomes of a proposal that it applies to."""
    reason: Words
    """Why, in words that people and reasoners read."""
    virtue: Words | None = None
    """The virtue it speaks for, such as "prudence"."""
    actions: Annotated[tuple[int, ...], Field(min_length=1)] | None = None
    """Discrete moves it applies to."""
    tools: Annotated[tuple[Words, ...], Field(min_length=1)] | None = None
    """Tools it applies to, when any of them is called."""
    where: dict[Words, Condition] = {}
    """Conditions on the arguments of such a call by name, a dotted one for an argument inside another; all of them
    must hold for one call. One that cannot be judged holds, so the rule binds; see `heart.conditions`."""
    region: Region | None = None
    """A place it applies in."""
    offer: Words | None = None
    """What is said instead of what it holds back."""

    @model_validator(mode="after")
    def _could_apply(self) -> Rule:
        if self.actions is None and self.tools is None and self.region is None:
            raise ValueError(f"rule {self.id!r} needs at least one of actions, tools, region")
        if self.actions is not None and self.tools is not None:
            raise ValueError(
                f"rule {self.id!r} gives actions and tools; nothing is both a move and a tool call, so it "
                f"could never apply. Make it two rules"
            )
        if self.where and self.tools is None:
            raise ValueError(f"rule {self.id!r} gives where without tools; name the tools whose arguments it judges")
        return self


class HeartSettings(_Settings):
    """All that a scenario tells the heart."""

    on_ask: OnAsk = "wait"
    """What becomes of a proposal that a person must be asked about: wait for the answer, take the best one that
    needs no asking, or do nothing."""
    approval_timeout_s: Annotated[float, Field(gt=0)] | None = None
    """Seconds after which an unanswered question is a no; without it the session waits for ever."""
    rules: tuple[Rule, ...] = ()

    @field_validator("rules")
    @classmethod
    def _ids_differ(cls, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        ids = [rule.id for rule in rules]
        twice = sorted({name for name in ids if ids.count(name) > 1})
        if twice:
            raise ValueError(f"two rules have the id {twice[0]!r}; grounds name rules by id, so each needs its own")
        return rules
