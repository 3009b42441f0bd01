"""An environment's spaces as a world model's layout: what is seen and done, as widths.

Knows both; keeps nothing. Invariant: columns stand as in `loops.spaces.flatten`, the achieved goal last."""

from __future__ import annotations

from loops.spaces import BoxActions, Spaces, ToolActions
from world_model.layout import Controls, Layout, Part


def layout_of(spaces: Spaces) -> Layout | None:
    """None where there is nothing to learn: nothing numeric is seen, or nothing is moved."""
    action = spaces.action
    if isinstance(action, ToolActions) or not spaces.width or not action.width:
        return None
    if isinstance(action, BoxActions):
        low, high = (tuple(float(value) for value in bound.numpy().ravel()) for bound in (action.low, action.high))
        controls = Controls(kind="box", width=action.width, low=low, high=high)
    else:
        controls = Controls(kind="discrete", width=action.width)
    parts = (Part(name=p.name, shape=p.shape, dtype=p.dtype, categories=p.categories) for p in spaces.arrays)
    return Layout(parts=tuple(parts), goal=spaces.goal_width, controls=controls)
