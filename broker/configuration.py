"""Mosquitto's configuration file."""

from __future__ import annotations

from broker.settings import Settings
from wattbus.mqtt.embedded_broker import LOSSLESS
from wattbus.mqtt.packets import LARGEST_PACKET


def configuration(settings: Settings) -> str:
    """The content of mosquitto.conf. Paths are those that the broker sees."""
    folder = settings.mosquitto_folder_seen
    tls = [f"certfile {folder}/certs/server.pem", f"keyfile {folder}/certs/server.pem"]
    address = f" {settings.broker_plain_address}" if settings.broker_plain_address else ""
    lines = [
        "# Written by the set-up at every run.",
        "",
        "# Nothing is lost before half a gigabyte waits for one client; what that needs is in broker/README.md.",
        "persistence true",
        f"persistence_location {settings.broker_data_folder.rstrip('/')}/",
        *LOSSLESS,
        # As much as Wattbus's services take: what is larger is refused to its sender, who learns it, and not dropped on
        # the way to its readers, who would not.
        f"max_packet_size {LARGEST_PACKET}",
        "",
        "# Who may do what.",
        "allow_anonymous false",
        f"password_file {folder}/passwd",
        f"acl_file {folder}/acl",
        "",
        "# Not standard output: Mosquitto fills a buffer before it writes there.",
        "log_dest stderr",
        "log_timestamp_format %Y-%m-%dT%H:%M:%S",
        "",
        "# Without TLS: for this machine, or the network of the containers.",
        f"listener {settings.broker_plain_port}{address}",
    ]
    if settings.broker_tls_port:
        lines += ["", f"listener {settings.broker_tls_port}", *tls]
    if settings.broker_websockets_port:
        lines += ["", f"listener {settings.broker_websockets_port}", "protocol websockets", *tls]
    if settings.broker_include_folder:
        lines += ["", f"include_dir {settings.broker_include_folder}"]
    return "\n".join(lines) + "\n"


def health_options(settings: Settings, password: str) -> str:
    """What mosquitto_sub reads as its own configuration: so the password is on no command line."""
    address = settings.broker_plain_address
    if address in ("", "0.0.0.0", "::"):  # all of them
        address = "127.0.0.1"
    options = (
        f"-h {address}",
        f"-p {settings.broker_plain_port}",
        "-u health",
        f"-P {password}",
        "-t $SYS/broker/uptime",
        "-C 1",
        "-W 4",
    )
    return "\n".join(options) + "\n"
