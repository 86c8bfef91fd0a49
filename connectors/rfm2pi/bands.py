"""The bands of radio modules, and how boards name them. Pure.

A module is made for one of three bands; its frequency within the band can be tuned (`o` of RF12demo), and the board
rounds what it says to whole megahertz: `[RF12demo.14] B i2 g210 @ 434 MHz q1` is a board in the 433 MHz band.
"""

from __future__ import annotations

_BANDS = {433: range(430, 441), 868: range(863, 871), 915: range(902, 929)}  # MHz


def band(megahertz: int) -> int:
    """The band that a frequency (MHz) belongs to: 433, 868 or 915; the frequency itself where it belongs to none."""
    return next((name for name, within in _BANDS.items() if megahertz in within), megahertz)


def is_set(name: str, now: object, wanted: object) -> bool:
    """Whether a setting of a board is as it shall be."""
    if name == "frequency" and isinstance(now, int) and isinstance(wanted, int):
        return band(now) == band(wanted)
    return now == wanted
