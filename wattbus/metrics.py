"""Numbers for Prometheus. One registry per process; the label `service` tells services of one process apart.

Never a label per datapoint or topic: a building has thousands of those.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

REGISTRY = CollectorRegistry()
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def counter(name: str, text: str, *labels: str) -> Counter:
    """A number that only rises; `name` without `wattbus_` and `_total`."""
    return Counter(f"wattbus_{name}", text, ("service", *labels), registry=REGISTRY)


def gauge(name: str, text: str, *labels: str) -> Gauge:
    """A number that rises and falls; `name` without `wattbus_`."""
    return Gauge(f"wattbus_{name}", text, ("service", *labels), registry=REGISTRY)


def histogram(name: str, text: str, *labels: str) -> Histogram:
    """A distribution, in seconds or what its name says; `name` without `wattbus_`."""
    return Histogram(f"wattbus_{name}", text, ("service", *labels), registry=REGISTRY)


def exposition() -> bytes:
    """All numbers in the text format of Prometheus."""
    return generate_latest(REGISTRY)


BAD_MESSAGES = counter("bad_messages", "Messages from the bus that make no sense.", "topic")
BUGS = counter("bugs", "Tasks that failed in a way nobody foresaw and were started again.", "task")
MQTT_CONNECTED = gauge("mqtt_connected", "Whether there is a connection to the broker.")
MQTT_CONNECTS = gauge("mqtt_connects", "Connections made to the broker since the start.")
