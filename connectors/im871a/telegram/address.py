"""The address of a meter, and what its parts mean."""

from __future__ import annotations

from dataclasses import dataclass

# EN 13757-7:2018 table 13, device types.
MEDIA = {
    0x00: "other", 0x01: "oil", 0x02: "electricity", 0x03: "gas", 0x04: "heat", 0x05: "steam", 0x06: "warm water",
    0x07: "water", 0x08: "heat cost allocator", 0x09: "compressed air", 0x0A: "cooling, volume at outlet",
    0x0B: "cooling, volume at inlet", 0x0C: "heat, volume at inlet", 0x0D: "heat and cooling",
    0x0E: "bus or system component", 0x0F: "unknown", 0x10: "irrigation water", 0x11: "water data logger",
    0x12: "gas data logger", 0x13: "gas converter", 0x14: "calorific value", 0x15: "hot water", 0x16: "cold water",
    0x17: "dual register water", 0x18: "pressure", 0x19: "A/D converter", 0x1A: "smoke detector", 0x1B: "room sensor",
    0x1C: "gas detector", 0x1D: "carbon monoxide alarm", 0x1E: "heat alarm", 0x1F: "sensor", 0x20: "breaker",
    0x21: "valve", 0x25: "customer unit", 0x28: "waste water", 0x29: "garbage", 0x2A: "carbon dioxide",
    0x31: "communication controller", 0x32: "unidirectional repeater", 0x33: "bidirectional repeater",
    0x36: "radio converter, system side", 0x37: "radio converter, meter side", 0x38: "bus converter, meter side",
}  # fmt: skip

# Words of the status byte (EN 13757-3:2018 section 5.5, EN 13757-7 table 15); bits 5 to 7 are the manufacturer's.
APPLICATION_STATUS = ("", "busy", "application_error", "abnormal_condition")
STATUS_BITS = ((0x04, "power_low"), (0x08, "permanent_error"), (0x10, "temporary_error"))
MANUFACTURER_STATUS_BITS = (0x20, 0x40, 0x80)


@dataclass(frozen=True, slots=True)
class Address:
    """Eight bytes as in the link layer: manufacturer (2), identification (4), version, device type; low byte first."""

    raw: bytes

    @property
    def manufacturer(self) -> str:
        """Three letters (EN 13757-7 section 7.5.2); the top bit, which marks a soft address, is no part of them.

        Empty where a wired meter does not say.
        """
        code = int.from_bytes(self.raw[:2], "little")
        if not code:
            return ""
        return "".join(chr(64 + (code >> shift & 0x1F)) for shift in (10, 5, 0))

    @property
    def id(self) -> str:
        """Eight digits, as printed on the meter."""
        return self.raw[5:1:-1].hex()

    @property
    def identity(self) -> bytes:
        """The identification number as on air, four bytes."""
        return self.raw[2:6]

    @property
    def version(self) -> int:
        return self.raw[6]

    @property
    def device_type(self) -> int:
        return self.raw[7]


def medium(device_type: int) -> str:
    """The device type in words."""
    return MEDIA.get(device_type, f"device type {device_type:02x}")


def status_words(status: int) -> tuple[str, ...]:
    """The names of what the status byte of the transport layer says; empty when all is well.

    The manufacturer's own three bits appear as `status_bit_5` … `status_bit_7`.
    """
    words = [APPLICATION_STATUS[status & 0x03]] if status & 0x03 else []
    words += [word for bit, word in STATUS_BITS if status & bit]
    words += [f"status_bit_{bit.bit_length() - 1}" for bit in MANUFACTURER_STATUS_BITS if status & bit]
    return tuple(words)
