"""The ready decoders in the folder `decoders`, each with the frames that prove it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field

from connectors.rfm2pi.layout import PayloadLayout
from connectors.rfm2pi.values import ValuesConfig

DECODERS = Path(__file__).parent / "decoders"


class Proof(BaseModel):
    """A frame that a node really sent, and what it says."""

    model_config = ConfigDict(extra="forbid")

    source: str
    line: str
    values: dict[str, float]
    rssi: int | None = None


class ReadyDecoder(ValuesConfig):
    """A decoder that comes with this connector; a decoder without a frame that proves it is none."""

    description: str
    node_ids: tuple[int, ...] = ()
    proofs: Annotated[tuple[Proof, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Ready:
    """A ready decoder, as read from its file."""

    description: str
    node_ids: tuple[int, ...]
    layout: PayloadLayout
    proofs: tuple[Proof, ...]


@cache
def ready_decoders() -> Mapping[str, Ready]:
    """The decoders in the folder `decoders`, by name."""
    found = {}
    for file in sorted(DECODERS.glob("*.yaml")):
        config = ReadyDecoder.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
        found[file.stem] = Ready(config.description, config.node_ids, config.layout(), config.proofs)
    return found
