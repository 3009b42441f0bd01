"""Which endpoint is asked, and why: the first route that the latest message matches, else the first endpoint.

Knows words and vectors; asks nobody. Invariant: the choice depends on the message, the settings and the embedder
only, and the reason names what decided it."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from loops.reasoners.language.settings import LanguageSettings, RouteSettings

Embed = Callable[[str], NDArray[np.float32]]
"""A text as a vector; equal texts give equal vectors."""


class Router:
    def __init__(self, settings: LanguageSettings, embed: Embed) -> None:
        self._settings = settings
        self._embed = embed

    def route(self, message: str) -> tuple[str, str]:
        """The endpoint's name and the reason in words; no reason where there is nothing to choose."""
        if not self._settings.routes:
            return next(iter(self._settings.endpoints)), ""
        nearest, similarity = self._nearest(message)
        for route in self._settings.routes:
            word = next((word for word in route.contains if _contains(message, word)), None)
            if word is not None:
                return route.endpoint, f"the message contains {word!r}"
            if route is nearest:
                return route.endpoint, f"the message is nearest to the examples of this route, cosine {similarity:.3f}"
        return next(iter(self._settings.endpoints)), "no route matches; the first endpoint"

    def _nearest(self, message: str) -> tuple[RouteSettings | None, float]:
        if not self._centroids:
            return None, 0.0
        asked = _unit(self._embed(message))
        similar = [(float(centroid @ asked), route) for route, centroid in self._centroids]
        best = max(similar, key=lambda pair: pair[0])
        return (best[1], best[0]) if best[0] > 0 else (None, 0.0)

    @cached_property
    def _centroids(self) -> list[tuple[RouteSettings, NDArray[np.float64]]]:
        routes = [route for route in self._settings.routes if route.like]
        return [(route, _unit(sum(_unit(self._embed(text)) for text in route.like))) for route in routes]


def _contains(message: str, word: str) -> bool:
    """Whether the message holds it as whole words, whatever their case."""
    return re.search(rf"(?<!\w){re.escape(word.casefold())}(?!\w)", message.casefold()) is not None


def _unit(vector: NDArray[np.floating] | float) -> NDArray[np.float64]:
    wide = np.asarray(vector, dtype=np.float64)
    length = float(np.linalg.norm(wide))
    return wide / length if length > 0 else wide
