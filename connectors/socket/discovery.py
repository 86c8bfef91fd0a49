"""How many datapoints senders can make: each new key is one, and whoever reaches the port can invent keys."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from wattbus.connector import Reading
from wattbus.flattening import flatten


class Discovery:
    """Knows the keys that were taken since the process started: at most `most`, besides the `expected` ones."""

    def __init__(self, most: int, expected: Collection[str] = ()) -> None:
        self.most = most
        self._expected = frozenset(expected)
        self._found: set[str] = set()

    def beyond(self, readings: Iterable[Reading]) -> list[str]:
        """The keys in these readings for which there is no place; the others have one from now on."""
        left_out = []
        for key in dict.fromkeys(key for reading in readings for key in flatten(reading).values):
            if key in self._expected or key in self._found:
                continue
            if len(self._found) < self.most:
                self._found.add(key)
            else:
                left_out.append(key)
        return left_out
