"""Encrypted telegrams in a stream of bytes, and what to think of those that cannot be opened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from connectors.dsmr_p1.cipher import (
    LONGEST_FRAME,
    TAG,
    CannotOpen,
    EncryptedFrame,
    Keys,
    decrypt_frame,
    frame_length,
    take_apart,
)

FAILURES_TO_TELL = 3
REFUSALS_TO_BELIEVE = 20


@dataclass(frozen=True, slots=True)
class Opened:
    """A frame, and the telegram in it; without one, `fault` says why it cannot be opened."""

    frame: bytes
    parts: EncryptedFrame
    text: str = ""
    fault: CannotOpen | None = None


class FrameFinder:
    """Finds encrypted telegrams in what it is fed.

    Nothing marks the end of a frame but the length in its head, and noise may look like a head: every place that may
    be one is tried as soon as there are enough bytes for it, and a frame that opens puts an end to the doubt. Without
    keys everything that has the form of a frame is one.
    """

    def __init__(self, keys: Keys | None) -> None:
        self.found = 0
        self._keys = keys
        self._bytes = bytearray()
        self._tried: set[int] = set()  # places of heads whose frames could not be opened

    def feed(self, data: bytes) -> list[Opened]:
        """What is complete now."""
        self._bytes += data
        found: list[Opened] = []
        while self._look(found):
            pass
        self.found += len(found)
        self._cut(self._first_of_interest())
        return found

    def _look(self, found: list[Opened]) -> bool:
        """Try the heads, in order; whether a frame opened, behind which there may be another one."""
        failed: list[tuple[int, Opened]] = []
        for place, length in self._heads():
            end = place + length
            if not length or place in self._tried or end > len(self._bytes):
                continue
            opened = self._open(bytes(self._bytes[place:end]))
            if opened is not None and opened.fault is None:
                # What failed and reaches into this one was not a frame.
                found += [*(one for its_end, one in failed if its_end <= place), opened]
                self._cut(end)
                return True
            self._tried.add(place)
            if opened is not None:
                failed.append((end, opened))
        found += [one for _, one in failed]
        return False

    def _heads(self) -> Iterator[tuple[int, int]]:
        """Places where a frame may begin, with its length; 0 where more bytes are needed to tell."""
        place = self._bytes.find(TAG)
        while place >= 0:
            length = frame_length(self._bytes, place)
            if length is not None:
                yield place, length
            place = self._bytes.find(TAG, place + 1)

    def _open(self, frame: bytes) -> Opened | None:
        try:
            parts = take_apart(frame)
        except CannotOpen:
            return None
        if self._keys is None:
            return Opened(frame, parts, fault=CannotOpen("no key", "DSMR_ENCRYPTION_KEY is not set"))
        try:
            return Opened(frame, parts, decrypt_frame(frame, self._keys))
        except CannotOpen as fault:
            return Opened(frame, parts, fault=fault)

    def _first_of_interest(self) -> int:
        """Where the first head is that may still become a frame; all before it can go."""
        oldest = max(0, len(self._bytes) - LONGEST_FRAME)
        waiting = [place for place, _ in self._heads() if place not in self._tried and place >= oldest]
        return waiting[0] if waiting else len(self._bytes)

    def _cut(self, place: int) -> None:
        del self._bytes[:place]
        self._tried = {tried - place for tried in self._tried if tried >= place}


class KeyDoubt:
    """Tells a wrong key from noise.

    Noise damages one frame or another. With a wrong key none opens, and the frames are in best order: the same
    meter's, their counters rising. After a frame that opened the keys are right, and what fails is damaged.
    """

    def __init__(self) -> None:
        self._right = False
        self._failures = 0
        self._last: tuple[bytes, int] | None = None

    @property
    def is_over(self) -> bool:
        """Whether a frame opened: what fails after that is damaged."""
        return self._right

    def opened(self) -> None:
        self._right, self._failures = True, 0

    def failed(self, opened: Opened) -> str:
        """What to tell people; "" while there is nothing to tell."""
        assert opened.fault is not None
        meter, counter = opened.parts.system_title, opened.parts.invocation_counter
        in_order = self._last is not None and self._last[0] == meter and 0 < counter - self._last[1] < 1000
        self._last = (meter, counter)
        self._failures = self._failures + 1 if in_order else 1
        if self._failures < FAILURES_TO_TELL or (self._right and self._failures < 10 * FAILURES_TO_TELL):
            return ""
        if opened.fault.fault in ("authentication key", "text"):
            return str(opened.fault)
        title = meter.hex()
        if opened.fault.fault == "no key":
            return f"the meter (system title {title}) sends encrypted telegrams, and DSMR_ENCRYPTION_KEY is not set"
        return f"DSMR_ENCRYPTION_KEY is not the key of this meter (system title {title})"


class Replays:
    """Tells frames that were heard before: the invocation counter of a meter only rises.

    A meter that starts counting anew is believed when the clock in its telegram, which nobody can forge without the
    key, has gone on; or when it keeps counting from there, should it have no clock that goes.
    """

    def __init__(self) -> None:
        self._last: dict[bytes, tuple[int, int]] = {}
        self._refused: list[int] = []

    def is_replay(self, parts: EncryptedFrame, clock_ms: int | None) -> bool:
        """Whether this is old; remembers it if not."""
        counter, clock = parts.invocation_counter, clock_ms or 0
        before = self._last.get(parts.system_title)
        if before is not None and counter <= before[0] and clock <= before[1] and not self._counts_anew(counter):
            return True
        if len(self._last) > 8:  # one line has one meter; a stranger's frames do not open
            self._last.clear()
        self._last[parts.system_title] = (counter, clock)
        self._refused.clear()
        return False

    def _counts_anew(self, counter: int) -> bool:
        if self._refused and counter <= self._refused[-1]:
            self._refused.clear()
        self._refused.append(counter)
        return len(self._refused) > REFUSALS_TO_BELIEVE
