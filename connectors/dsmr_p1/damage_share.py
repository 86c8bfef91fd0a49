"""How much of what a meter says is damaged, also where good telegrams come between. Pure, with a memory."""

from __future__ import annotations

from collections import deque

WINDOW = 40  # telegrams
FEWEST = 20  # before a share says something
TOO_MUCH, FEW = 0.25, 0.1
FIRST_GUESS_BYTES = 400  # of a telegram, before one was heard


class DamageShare:
    """Judges the last telegrams: `fault` begins at a quarter of them, and ends below a tenth."""

    def __init__(self) -> None:
        self.fault = ""
        self._last: deque[bool] = deque(maxlen=WINDOW)
        self._telegram_bytes = FIRST_GUESS_BYTES
        self._lost_bytes = 0
        self._since_said = 0

    def good(self, length: int) -> None:
        """A telegram of so many bytes is believed."""
        self._telegram_bytes = length
        self._note(False, "")

    def damaged(self, reason: str) -> None:
        self._note(True, reason)

    def dropped(self, count: int) -> None:
        """So many bytes belonged to no telegram; most of one telegram's are one that was lost."""
        self._lost_bytes += count
        while self._lost_bytes * 2 > self._telegram_bytes:
            self._lost_bytes = max(0, self._lost_bytes - self._telegram_bytes)
            self._note(True, "its beginning or its end is missing")

    def _note(self, is_damaged: bool, reason: str) -> None:
        self._last.append(is_damaged)
        share = sum(self._last) / len(self._last)
        self._since_said += 1
        if share < FEW:
            self.fault = ""
        elif is_damaged and len(self._last) >= FEWEST and share >= TOO_MUCH and self._is_time_to_say():
            self.fault = f"{sum(self._last)} of the last {len(self._last)} telegrams were damaged: {reason}"
            self._since_said = 0

    def _is_time_to_say(self) -> bool:
        """The status is not published for each telegram."""
        return not self.fault or self._since_said >= WINDOW
