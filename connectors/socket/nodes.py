"""SOCKET_NODES: what is known about the nodes that send lines of values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(min_length=1, max_length=100)]
Factor = Annotated[float, Field(allow_inf_nan=False)]


class Node(BaseModel):
    """One node: its name, and name, factor and unit of each of its values, in the order of the line."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("", max_length=100)
    names: tuple[Name, ...] = ()
    scales: tuple[Factor, ...] = ()
    units: tuple[str, ...] = ()
    silence_seconds: float | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        for index, name in enumerate(self.names):
            if name in self.names[:index]:
                raise ValueError(f"names: {name!r} is there twice")
            if name.isdecimal() and int(name) != index + 1:
                raise ValueError(f"names: {name!r} is the key of value {name} (what has no name has its number)")
        return self


UNKNOWN = Node()


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes that are known, by id."""

    known: Mapping[int, Node] = field(default_factory=dict)

    def key(self, node_id: int) -> str:
        """The first part of the keys of a node's datapoints, and the name under which it comes and goes."""
        return self.known.get(node_id, UNKNOWN).name or str(node_id)

    def get(self, node_id: int) -> Node:
        """What is known about a node; nothing, if it is unknown."""
        return self.known.get(node_id, UNKNOWN)

    @property
    def named_keys(self) -> frozenset[str]:
        """The keys of all values that have a name."""
        return frozenset(f"{self.key(node_id)}__{name}" for node_id, node in self.known.items() for name in node.names)

    @property
    def silence_limits(self) -> dict[str, float | None]:
        """Key of each node → its own limit (s); None: it has none of its own."""
        return {self.key(node_id): node.silence_seconds for node_id, node in self.known.items()}


def _keys_are_unique(table: dict[int, Node]) -> dict[int, Node]:
    keys = [Nodes(table).key(node_id) for node_id in table]
    for index, key in enumerate(keys):
        if key in keys[:index]:
            raise ValueError(f"{key!r} is the name of two nodes")
    for node_id, node in table.items():
        if node.name.isdecimal() and node.name != str(node_id):
            raise ValueError(f"node {node_id}: the name {node.name!r} is the key of another node")
    return table


NodeTable = Annotated[dict[Annotated[int, Field(ge=0)], Node], AfterValidator(_keys_are_unique)]
