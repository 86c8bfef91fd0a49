"""The nodes of a radio network, as people describe them in RFM2PI_NODES."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from connectors.rfm2pi.layout import PASS_THROUGH, SIGNED_16_BIT, PayloadLayout
from connectors.rfm2pi.ready import ready_decoders
from connectors.rfm2pi.values import Factor, Name, ValuesConfig, listed

BOARD = "board"  # the name of the radio board itself among the devices
MOST_BYTES = 66  # JeeLib's RF12_MAXDATA
TRANSMIT, SEND = "transmit", "send"  # the actuators of a node: bytes as they are, all values of `tx` at once


class SentConfig(ValuesConfig):
    """What a node is sent; `defaults` are the values before anybody gave others."""

    defaults: Annotated[tuple[Factor, ...], BeforeValidator(listed)] = ()

    @model_validator(mode="after")
    def _every_value_has_a_name(self) -> Self:
        count = len(self.datacodes or ())
        if not count or len(self.names) != count:
            raise ValueError("tx needs datacodes and as many names")
        if self.defaults and len(self.defaults) != count:
            raise ValueError(f"{count} datacodes, but {len(self.defaults)} defaults")
        if self.counters:
            raise ValueError("counters are values that a node sends")
        if taken := {SEND, TRANSMIT} & set(self.names):
            raise ValueError(f"names: {taken.pop()} is the name of an actuator that every node has")
        return self


class NodeConfig(ValuesConfig):
    """One node; emonHub's shape, with the values under `rx`, is understood too."""

    name: Name | None = None
    decoder: str | None = None
    silent_seconds: Annotated[float, Field(ge=0)] | None = None
    tx: SentConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _as_emonhub(cls, given: Any) -> Any:
        if given is None:  # YAML's `8:`, with nothing after it
            return {}
        if not isinstance(given, dict):
            raise ValueError("expected words such as name, decoder or datacodes, each with a value")
        given = dict(given)
        if "nodename" in given:
            given.setdefault("name", given.pop("nodename"))
        for only_words in ("hardware", "firmware", "nodeids"):
            given.pop(only_words, None)
        if isinstance(given.get("rx"), dict):
            given = {**given.pop("rx"), **given}
        return given

    @model_validator(mode="after")
    def _one_description(self) -> Self:
        if self.decoder is None:
            return self
        if self.decoder not in ready_decoders():
            raise ValueError(f"there is no ready decoder {self.decoder!r}; there are {', '.join(ready_decoders())}")
        own = self.model_fields_set & set(ValuesConfig.model_fields)
        if own:
            raise ValueError(f"decoder brings its own {', '.join(sorted(own))}; give one or the other")
        return self

    def for_a_board(self) -> list[str]:
        """What is given and means nothing for lines that bring finished values."""
        words = ("decoder", "datacode", "datacodes", "whitening", "tx")
        return [word for word in words if getattr(self, word) not in (None, False, PASS_THROUGH)]

    @property
    def tells_of_frames(self) -> bool:
        """Whether anything is said of the frames that it sends."""
        return bool(self.model_fields_set & {*ValuesConfig.model_fields, "decoder", "silent_seconds"})

    def rx_layout(self) -> PayloadLayout:
        return ready_decoders()[self.decoder].layout if self.decoder else self.layout()


def _node_number(text: Any) -> int:
    try:
        number = int(text)
    except (TypeError, ValueError):
        raise ValueError(f"{text!r} is no node id") from None
    if not 0 <= number <= 255:
        raise ValueError(f"{number} is no node id: 0 to 255")
    return number


def _names_are_unique(nodes: dict[int, NodeConfig]) -> dict[int, NodeConfig]:
    seen: dict[str, int] = {}
    for number, config in nodes.items():
        name = config.name or str(number)
        if name == BOARD or (name.isdecimal() and name != str(number)):
            raise ValueError(f"node {number} cannot be called {name!r}: that is somebody else's name")
        if name in seen:
            raise ValueError(f"nodes {seen[name]} and {number} are both called {name!r}")
        seen[name] = number
    return nodes


# RFM2PI_NODES: node id → description.
NodesConfig = Annotated[
    dict[Annotated[int, BeforeValidator(_node_number)], NodeConfig], AfterValidator(_names_are_unique)
]


@dataclass(frozen=True, slots=True)
class Node:
    """A node: how its frames are read, and how frames to it are written."""

    number: int
    name: str
    rx: PayloadLayout = SIGNED_16_BIT
    tx: PayloadLayout | None = None
    tx_defaults: tuple[float, ...] = ()
    silent_s: float | None = None
    is_described: bool = False
    is_expected: bool = False  # to be heard; not a display of which only `tx` is described


@dataclass(frozen=True, slots=True)
class Nodes:
    """All nodes by number; those that nobody described have signed 16-bit values, numbered from 1."""

    described: Mapping[int, Node] = field(default_factory=dict)
    unknown: PayloadLayout = SIGNED_16_BIT

    @classmethod
    def of(cls, config: Mapping[int, NodeConfig], unknown: PayloadLayout = SIGNED_16_BIT) -> Nodes:
        return cls({number: _node(number, one) for number, one in config.items()}, unknown)

    def __getitem__(self, number: int) -> Node:
        node = self.described.get(number)
        return node if node is not None else Node(number, str(number), self.unknown)


def _node(number: int, config: NodeConfig) -> Node:
    return Node(
        number,
        config.name or str(number),
        config.rx_layout(),
        config.tx.layout() if config.tx else None,
        config.tx.defaults if config.tx else (),
        config.silent_seconds,
        is_described=True,
        is_expected=config.tx is None or config.tells_of_frames,
    )
