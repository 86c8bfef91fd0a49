"""Where on the bus each message lives, and how a datapoint's key becomes a level of a topic."""

from __future__ import annotations

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence

from wattbus.connector import DatapointType

ALL_STATUSES = "+/status"
HISTORY = "history"  # the usual name of a history
LONGEST_ID = 200  # characters; a topic may have 65,535 bytes, but people and other tools read it too


def controls(controller: str) -> str:
    """All that a controller sends commands to: `${controller}/controls`."""
    return f"{controller}/controls"


def available_datapoints(connector: str) -> str:
    """`${connector}/available_datapoints`: key → example value, as BEMCom has it."""
    return f"{connector}/available_datapoints"


def datapoints(connector: str) -> str:
    """`${connector}/datapoints`: what a connector has, with topic, unit and limits."""
    return f"{connector}/datapoints"


def datapoint_map(connector: str) -> str:
    """`${connector}/datapoint_map`: which datapoints are published, and where."""
    return f"{connector}/datapoint_map"


def values(connector: str) -> str:
    """`${connector}/values`: whole readings, numbered."""
    return f"{connector}/values"


def receipts(connector: str) -> str:
    """`history/receipts/${connector}`: what history has of a connector's readings."""
    return f"history/receipts/{connector}"


def raw_message(connector: str) -> str:
    """`${connector}/raw_message_to_db`: what a device sent, before it was decoded."""
    return f"{connector}/raw_message_to_db"


def heartbeat(connector: str) -> str:
    """`${connector}/heartbeat`: that it works, and when it says so next."""
    return f"{connector}/heartbeat"


def logs(connector: str) -> str:
    """`${service}/logs`: its log from INFO on."""
    return f"{connector}/logs"


def status(service: str) -> str:
    """`${service}/status`: how it is, retained, also its Last Will."""
    return f"{service}/status"


def who(service: str) -> str:
    """Where it is asked whether somebody runs under this name."""
    return f"{service}/who"


def is_of_services(topic: str) -> bool:
    """Whether it is `${any service}/status` or `…/who`: every connector hears the former."""
    return topic.count("/") == 1 and topic.endswith(("/status", "/who"))


def value(connector: str, topic_id: str) -> str:
    """`${connector}/messages/${id}/value`: state of a sensor, command to an actuator."""
    return f"{connector}/messages/{topic_id}/value"


def result(value_topic: str) -> str:
    """The topic on which the outcome of a command to `value_topic` is told."""
    return f"{value_topic.removesuffix('/value')}/result"


def topic_ids(keys: Iterable[tuple[DatapointType, str]]) -> dict[tuple[DatapointType, str], str]:
    """The readable topic level of each datapoint of one connector.

    Characters that MQTT or a shell would trip over become `-`; an actuator ends in `-set`. Keys that would share a
    level, and keys too long for one, all get `~` and a short hash, whatever the order in which they were seen.
    """
    known = set(keys)
    ids = {datapoint: _readable(*datapoint) for datapoint in known}
    hashed = {datapoint for datapoint in known if len(ids[datapoint]) > LONGEST_ID}
    while True:
        users = defaultdict(set)
        for datapoint in known:
            level = ids[datapoint] if datapoint not in hashed else _hashed(ids[datapoint], *datapoint)
            users[level].add(datapoint)
        colliding = {datapoint for sharing in users.values() if len(sharing) > 1 for datapoint in sharing} - hashed
        if not colliding:
            return {datapoint: level for level, sharing in users.items() for datapoint in sharing}
        hashed |= colliding


def _readable(kind: DatapointType, key: str) -> str:
    level = "".join("-" if _trips(char) else char for char in key) or "-"
    return f"{level}-set" if kind == "actuator" else level


def _trips(char: str) -> bool:
    return char in "/+#$\"'" or char.isspace() or unicodedata.category(char)[0] in "CZ"


def _hashed(level: str, kind: DatapointType, key: str) -> str:
    digest = hashlib.sha256(f"{kind}:{key}".encode("utf-8", "surrogatepass")).hexdigest()[:8]
    if kind == "actuator":
        return f"{level.removesuffix('-set')[:LONGEST_ID]}~{digest}-set"
    return f"{level[:LONGEST_ID]}~{digest}"


def match(topic_filter: str, topic: str) -> bool:
    """Whether a topic matches a subscription (MQTT 5, 4.7); `$` topics are not treated apart."""
    return _levels_match(topic_filter.split("/"), topic.split("/"))


def _levels_match(wanted: Sequence[str], given: Sequence[str]) -> bool:
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(given) or level not in ("+", given[index]):
            return False
    return len(wanted) == len(given)
