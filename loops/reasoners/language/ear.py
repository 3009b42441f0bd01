"""What a person hears of an answer while it streams in.

Knows tags and redaction; knows no endpoint. Invariants: known secrets are not heard; nothing of a tag is heard, for
it is a call and not a word."""

from __future__ import annotations

from collections.abc import Callable

from loops.reasoners.language import tags

Words = Callable[[str], str]


class Ear:
    """Of one answer. Where tools take secrets, whole lines are heard, so that a secret does not come in two halves."""

    def __init__(self, heard: Callable[[str], None] | None, *, redact: Words, hide_tags: bool, by_line: bool) -> None:
        self.spoken_to = False
        """Whether anything was heard yet."""
        self._heard = heard
        self._redact = redact
        self._hide_tags = hide_tags
        self._by_line = by_line
        self._held = ""

    def begin(self) -> None:
        """Another attempt begins; what was held of the last one is forgotten."""
        self._held = ""

    def __call__(self, text: str) -> None:
        words, self._held = tags.shown(self._held + text) if self._hide_tags else (self._held + text, "")
        if self._by_line:
            whole = words.rfind("\n") + 1
            words, self._held = words[:whole], words[whole:] + self._held
        self._pass_on(words)

    def end(self) -> None:
        """The answer is whole; what was held is heard, unless it is a tag that never ended."""
        words, self._held = self._held, ""
        if self._hide_tags:
            words = words.partition(tags.OPENING)[0]
        self._pass_on(words)

    def _pass_on(self, words: str) -> None:
        if words and self._heard is not None:
            self.spoken_to = True
            self._heard(self._redact(words))
