"""A map of what was lived: landmarks in outcome space, and how many decisions led from one to another.

Knows logged transitions; knows no environment and no walls. Invariant: an edge i→j exists only where a logged episode
led from near i to near j in that order; where no chain of edges leads, the cost-to-go is infinite."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from world_model.errors import ShapeError
from world_model.experience import Experience
from world_model.plan.cost import Cost, Indifferent, step_scale
from world_model.plan.field import Field, Ground

# N = observations, L = landmarks, G = width of outcome space, E = edges

REACH: Final = 8
"""Decisions of one episode that an edge may span."""

STRAIGHT: Final = 1.5
"""An edge at most this many times as long as the straight line between its ends leads there directly: an outcome near
its beginning may be judged by its distance to the end. What stands between two points makes the way around longer."""

SLACK: Final = 1.0
"""Decisions that a straight edge may take beyond that: a body first turns round."""

SHORTEST: Final = 1e-6
"""Least length of an edge, in decisions: a sparse matrix reads zero as no edge."""

FARTHEST_OF: Final = 50_000
"""Observations that landmarks are chosen among; a sample of them where there are more."""

MOST: Final = 1000
"""Landmarks are enough for 20,000 transitions of PointMaze Large at `SPACING`. With 200 instead, 2 to 10 of 100
episodes of Medium and Large stay before a corner: a landmark on the other side of it is the nearest there."""

SPACING: Final = 0.75
"""Decisions within which everything visited has a landmark, where `MOST` suffice: less than what a wall's corner, the
thinnest wall there is, keeps apart."""

SPACING_OF_BELIEFS: Final = 0.2
"""The same where landmarks are beliefs, for want of a declared goal: what is wanted is a place there, and a typical
decision may swing past it. On the pendulum .75 leaves 2 or 3 landmarks where it can be held, .2 leaves 15 to 19."""

REWARDED_SHARE: Final = 0.125
"""At most this share of the landmarks is chosen among rewarded observations first."""

FIELDS_KEPT: Final = 256
"""Solved goals kept; a solution is L floats."""


class Landmarks:
    """`nodes_LG` are logged outcomes; `edges` (L, L) holds decisions, nothing where no episode led.

    An edge is the least, over all episodes, of the decisions taken between two observations plus the distance of each
    from its landmark: an upper bound that a trajectory through both ends reaches."""

    def __init__(
        self,
        nodes_LG: NDArray[np.float64],
        scale_G: NDArray[np.float64],
        edges: csr_array[np.float64],
        preferred_L: NDArray[np.bool_],
    ) -> None:
        count = len(nodes_LG)
        if nodes_LG.shape[1:] != scale_G.shape or edges.shape != (count, count) or preferred_L.shape != (count,):
            raise ShapeError(
                f"landmarks {nodes_LG.shape}, scale {scale_G.shape}, edges {edges.shape} and preferred "
                f"{preferred_L.shape} do not belong together"
            )
        self.nodes_LG = nodes_LG
        self.scale_G = scale_G
        self.edges = edges
        self.preferred_L = preferred_L
        self._scaled_LG = nodes_LG / scale_G
        self._direct_LL = self._straight()
        self._entered_L = np.diff(edges.tocsc().indptr) > 0
        self._ground = Ground(nodes_LG, scale_G, self._direct_LL)
        self._fields: OrderedDict[bytes, Field] = OrderedDict()

    @classmethod
    def of(cls, outcome_NG: NDArray[np.floating], experience: Experience, *, seed: int, count: int = MOST) -> Landmarks:
        """At most `count` landmarks among `outcome_NG`, one outcome for each row of `experience`.

        Chosen by farthest point (Gonzalez, *Theor. Comp. Sci.* 38, 1985), so they cover whatever was visited evenly,
        however rarely it was, until all of it is within `SPACING`, or `SPACING_OF_BELIEFS`; among rewarded observations
        first, so that what is wanted is one exactly."""
        scale_G = step_scale(outcome_NG, experience)
        outcomes_NG = np.asarray(outcome_NG, dtype=np.float64)
        scaled_NG = outcomes_NG / scale_G
        rng = np.random.default_rng(seed)
        spacing = SPACING if experience.layout.goal else SPACING_OF_BELIEFS
        first = max(1, int(count * REWARDED_SHARE))
        best = _farthest(scaled_NG, rewarded(experience), count=first, spacing=spacing, rng=rng)
        chosen = _farthest(scaled_NG, np.arange(len(scaled_NG)), count=count, spacing=spacing, rng=rng, start=best)
        edges = _edges(scaled_NG, scaled_NG[chosen], experience)
        return cls(outcomes_NG[chosen], scale_G, edges, np.arange(len(chosen)) < len(best))

    def __len__(self) -> int:
        return len(self.nodes_LG)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """What a checkpoint stores; `from_arrays` reads it."""
        edges = self.edges.tocoo()
        return {
            "nodes": self.nodes_LG,
            "scale": self.scale_G,
            "edge_from": edges.row.astype(np.int64),
            "edge_to": edges.col.astype(np.int64),
            "edge_decisions": edges.data,
            "preferred": self.preferred_L,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Landmarks:
        nodes_LG = np.asarray(arrays["nodes"], dtype=np.float64)
        ends = (np.asarray(arrays["edge_from"], dtype=np.int64), np.asarray(arrays["edge_to"], dtype=np.int64))
        decisions_E = np.asarray(arrays["edge_decisions"], dtype=np.float64)
        edges = csr_array((decisions_E, ends), shape=(len(nodes_LG), len(nodes_LG)))
        scale_G = np.asarray(arrays["scale"], dtype=np.float64)
        return cls(nodes_LG, scale_G, edges, np.asarray(arrays["preferred"], dtype=np.bool_))

    def decisions_to(self, targets_L: NDArray[np.float64]) -> NDArray[np.float64]:
        """From each landmark the cheapest way to any target, with what the target itself costs (inf: no target);
        directed, infinite where nothing leads. Shape (L,)."""
        count = len(self)
        ends = np.flatnonzero(np.isfinite(targets_L))
        coo = self.edges.tocoo()
        # Turned round, with one more node that every target hangs on: one Dijkstra from it reaches all.
        row = np.concatenate([coo.col, np.full(len(ends), count)])
        col = np.concatenate([coo.row, ends])
        data = np.concatenate([coo.data, np.maximum(targets_L[ends], SHORTEST)])
        turned = csr_array((data, (row, col)), shape=(count + 1, count + 1))
        costs_L: NDArray[np.float64] = dijkstra(turned, indices=[count])[0, :count]
        return costs_L

    def toward(self, goal: ArrayLike) -> Field:
        """The cost-to-go to a goal, shape (G,). Landmarks that lead straight to the goal's nearest one see the goal
        itself, at its distance. A goal farther from every landmark than anything logged therefore stands behind its
        nearest landmark: the way there is followed first, the straight line after. Equal goals are solved once."""
        goal_G = np.asarray(goal, dtype=np.float64)
        if goal_G.shape != self.scale_G.shape:
            raise ShapeError(f"a goal of shape {goal_G.shape}; these landmarks lie in {self.scale_G.shape}")
        key = goal_G.tobytes()
        field = self._fields.pop(key, None)
        if field is None:
            scaled_G = goal_G / self.scale_G
            distance_L = np.linalg.norm(self._scaled_LG - scaled_G, axis=1)
            # One that was only ever left, an episode's beginning, is no place that anything leads to.
            entered_L = self._entered_L if self._entered_L.any() else ~self._entered_L
            sees_L = self._direct_LL[:, int(np.where(entered_L, distance_L, np.inf).argmin())]
            costs_L = self.decisions_to(np.where(sees_L, distance_L, np.inf))
            field = Field(self._ground, costs_L, goal=scaled_G, sees_goal=sees_L)
        self._fields[key] = field
        while len(self._fields) > FIELDS_KEPT:
            self._fields.popitem(last=False)
        return field

    def preferred(self) -> Cost:
        """The cost-to-go to the landmarks that hold rewarded observations; indifference where the log has none."""
        if not self.preferred_L.any():
            return Indifferent()
        costs_L = self.decisions_to(np.where(self.preferred_L, 0.0, np.inf))
        return Field(self._ground, costs_L)

    def _straight(self) -> NDArray[np.bool_]:
        coo = self.edges.tocoo()
        lines_E = np.linalg.norm(self._scaled_LG[coo.row] - self._scaled_LG[coo.col], axis=1)
        direct_LL = np.eye(len(self), dtype=np.bool_)
        direct_LL[coo.row, coo.col] = coo.data <= STRAIGHT * lines_E + SLACK
        np.fill_diagonal(direct_LL, val=True)
        return direct_LL


def rewarded(experience: Experience) -> NDArray[np.int64]:
    """Rows that the best hundredth of the log's rewards led to; none where all are equal."""
    steps = np.flatnonzero(experience.steps_N)
    if not len(steps):
        return steps
    rewards = experience.reward_N[steps]
    good = (rewards > np.median(rewards)) & (rewards >= np.quantile(rewards, 0.99))
    return steps[good] + 1


def _farthest(
    scaled_NG: NDArray[np.float64],
    among: NDArray[np.int64],
    *,
    count: int,
    spacing: float,
    rng: np.random.Generator,
    start: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """`start` and then, up to `count` rows in all, each time the row of `among` farthest from those chosen."""
    if len(among) > FARTHEST_OF:
        among = np.sort(rng.choice(among, FARTHEST_OF, replace=False))
    if not len(among):
        return among
    points = scaled_NG[among]
    chosen = list(start) if start is not None and len(start) else [int(among[rng.integers(len(among))])]
    distance = np.full(len(among), np.inf)
    for row in chosen:
        distance = np.minimum(distance, np.square(points - scaled_NG[row]).sum(axis=1))
    while len(chosen) < count:
        far = int(distance.argmax())
        if distance[far] <= spacing**2:
            break
        chosen.append(int(among[far]))
        distance = np.minimum(distance, np.square(points - points[far]).sum(axis=1))
    return np.asarray(chosen, dtype=np.int64)


def _nearest(
    nodes_LG: NDArray[np.float64], scaled_NG: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """How far each outcome's nearest landmark is, and which it is; shapes (N,)."""
    distance, node = cKDTree(nodes_LG).query(scaled_NG)
    return np.asarray(distance, dtype=np.float64), np.asarray(node, dtype=np.int64)


def _edges(
    scaled_NG: NDArray[np.float64], nodes_LG: NDArray[np.float64], experience: Experience
) -> csr_array[np.float64]:
    count = len(nodes_LG)
    distance_N, node_N = _nearest(nodes_LG, scaled_NG)
    best_LL = np.full((count, count), np.inf)
    for steps in range(1, REACH + 1):
        before = experience.starts(steps)
        after = before + steps
        took = np.maximum(distance_N[before] + steps + distance_N[after], SHORTEST)
        np.minimum.at(best_LL, (node_N[before], node_N[after]), took)
    np.fill_diagonal(best_LL, np.inf)
    row, col = np.nonzero(np.isfinite(best_LL))
    return csr_array((best_LL[row, col], (row, col)), shape=(count, count))
