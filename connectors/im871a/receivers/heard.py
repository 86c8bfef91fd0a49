"""What every receiver gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HeardTelegram:
    """A telegram without link CRCs, from its L field on, and its signal strength in dBm where the receiver says it."""

    telegram: bytes
    rssi_dbm: float | None = None


Take = Callable[[HeardTelegram], None]


def cc1101_dbm(byte: int) -> float:
    """Signal strength of a receiver with TI's CC1101 or CC1200 (CC1101 data sheet, section 17.3): signed, half dB."""
    return (byte - 256 if byte >= 128 else byte) / 2 - 74
