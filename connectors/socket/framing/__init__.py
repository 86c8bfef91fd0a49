"""From a stream of bytes to messages: one framing per connection, chosen by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from connectors.socket.framing.json_texts import JsonFraming
from connectors.socket.framing.pieces import Framing, Piece
from connectors.socket.framing.plain import LengthFraming, LineFraming, PauseFraming
from connectors.socket.framing.yaml_documents import YamlFraming

__all__ = [
    "Framing", "FramingName", "FramingRules", "JsonFraming", "LengthFraming", "LineFraming", "PauseFraming", "Piece",
    "YamlFraming",
]  # fmt: skip

FramingName = Literal["line", "length", "json", "yaml", "pause"]


@dataclass(frozen=True, slots=True)
class FramingRules:
    """What the settings say about the division of a stream; bytes and seconds."""

    name: FramingName
    limit: int = 4096
    pause_s: float = 0.3
    midway: bool = False
    length_size: Literal[1, 2, 4] = 4
    length_order: Literal["big", "little"] = "big"

    def new(self) -> Framing:
        """The framing of a new connection."""
        return _NEW[self.name](self)


_NEW: dict[FramingName, Callable[[FramingRules], Framing]] = {
    "line": lambda rules: LineFraming(rules.limit, midway=rules.midway),
    "length": lambda rules: LengthFraming(
        rules.limit, size=rules.length_size, order=rules.length_order, pause_s=rules.pause_s, midway=rules.midway
    ),
    "json": lambda rules: JsonFraming(rules.limit, pause_s=rules.pause_s, midway=rules.midway),
    "yaml": lambda rules: YamlFraming(rules.limit, pause_s=rules.pause_s, midway=rules.midway),
    "pause": lambda rules: PauseFraming(rules.limit, pause_s=rules.pause_s, midway=rules.midway),
}
