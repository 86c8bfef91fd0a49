"""Whether what comes under a meter's number is that meter's, and what to tell when it cannot be read."""

from __future__ import annotations

from dataclasses import dataclass

from connectors.im871a.codec import NotEncrypted
from connectors.im871a.registry import Meter
from connectors.im871a.telegram import FormatUnknown, Header, KeyNeeded, WrongKey
from wattbus.errors import DecodeError

# In a row, before the meter counts as away. Bits are lost on the air, and some meters send now and then what is not
# encrypted, or short telegrams before the first long one (one of eight is long, and some are not heard).
REFUSALS_TO_TELL = 3
REFUSALS_OF_KIND: dict[type[DecodeError], int] = {KeyNeeded: 1, FormatUnknown: 30}
_REASONS: dict[type[DecodeError], str] = {
    KeyNeeded: "its telegrams are encrypted: it needs a key",
    WrongKey: "the key does not open its telegrams",
    NotEncrypted: "its telegrams are not encrypted, though it has a key: leave the key out if that is right",
    FormatUnknown: "only short telegrams are heard, and none of the long ones that say what is in them",
}


@dataclass(slots=True)
class _Known:
    who: tuple[str, str] | None = None  # manufacturer and number of the one that could be read
    refused: int = 0  # telegrams in a row


class Trust:
    """Numbers are unique for one manufacturer only, so a foreign meter may have the number of one of our meters.

    Whoever could be read first under a meter's number is the meter; others are unconfigured meters from then on.
    """

    def __init__(self) -> None:
        self._meters: dict[str, _Known] = {}

    def is_another(self, meter: Meter, header: Header) -> bool:
        """Whether this is another one with the meter's number."""
        known = self._meters.get(meter.id)
        return known is not None and known.who not in (None, _who(header))

    def opened(self, meter: Meter, header: Header) -> None:
        """The meter's telegram could be read."""
        known = self._meters.setdefault(meter.id, _Known())
        known.who, known.refused = _who(header), 0

    def refused(self, meter: Meter, fault: DecodeError) -> str:
        """A telegram under the meter's number could not be read: why it counts as away now; "" while it does not."""
        known = self._meters.setdefault(meter.id, _Known())
        known.refused += 1
        if known.refused < REFUSALS_OF_KIND.get(type(fault), REFUSALS_TO_TELL):
            return ""
        return _REASONS.get(type(fault)) or f"its telegrams cannot be read: {fault}"

    def forget(self, meter_id: str) -> None:
        """It has another key now, or is not listened to any more."""
        self._meters.pop(meter_id, None)


def _who(header: Header) -> tuple[str, str]:
    return header.manufacturer, header.id
