"""Lines of no known form: which there are, for the status. Pure, with a memory."""

from __future__ import annotations

from collections.abc import Sequence

MOST_FORMS = 50
MOST_SHOWN = 5
LONGEST_SHOWN = 60
GONE_AFTER = 100  # telegrams without any
_DIGITS = str.maketrans("123456789", "000000000")


class OddLines:
    """`fault` names the lines that are left out; the same line with another number is the same."""

    def __init__(self) -> None:
        self.fault = ""
        self._forms: dict[str, str] = {}
        self._telegrams_without = 0

    def take(self, lines: Sequence[str]) -> None:
        """The odd lines of a telegram."""
        if not lines:
            self._telegrams_without += 1
            if self._telegrams_without >= GONE_AFTER:
                self._forms.clear()
                self.fault = ""
            return
        self._telegrams_without = 0
        known = len(self._forms)
        for line in lines:
            if len(self._forms) < MOST_FORMS:
                self._forms.setdefault(line.translate(_DIGITS), line)
        if len(self._forms) > known:
            shown = ", ".join(repr(line[:LONGEST_SHOWN]) for line in list(self._forms.values())[:MOST_SHOWN])
            more = ", …" if len(self._forms) > MOST_SHOWN else ""
            plural = "lines" if len(self._forms) > 1 else "line"
            self.fault = f"{len(self._forms)} {plural} of no known form left out: {shown}{more}"
