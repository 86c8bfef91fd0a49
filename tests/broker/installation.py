"""An installation as the set-up makes it, with a real Mosquitto, and plain MQTT clients that sign in there."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from broker.set_up import Report, set_up
from broker.settings import Settings
from tests.support.ports import free_port
from wattbus.settings import load
from wattbus.testing.waiting import PATIENCE_S

SOON_S = PATIENCE_S
NOT_AUTHORISED = 135
LISTENING = Path("/proc/net/tcp")  # Linux: proc_net_tcp(5); state 0A is LISTEN
EVERYBODY = (
    "anna:reader,ben:operator,second-history:history,second-controller:controller,cloud:forwarder,finder:discovery,"
    "ha:home-assistant,meters:recalc,solar"
)


class Installation:
    """A folder with env files and secrets, and the broker that runs with them."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.env_files = folder / "connectors"
        self.own_options = folder / "conf.d"
        self.log = folder / "mosquitto.log"
        for new in (self.env_files, self.own_options, folder / "data"):
            new.mkdir(parents=True, exist_ok=True)
        # Tests may run as root, in folders that a user `mosquitto` could not read.
        self.option("log_type all", *(["user root"] if os.geteuid() == 0 else []))
        self.variables = {
            "SECRETS_FOLDER": str(folder / "secrets"),
            "SECRETS_GID": str(os.getegid()),
            "BROKER_UID": str(os.geteuid()),
            "BROKER_GID": str(os.getegid()),
            "ENVIRONMENT_FOLDER": str(self.env_files),
            "BROKER_DATA_FOLDER": str(folder / "data"),
            "BROKER_INCLUDE_FOLDER": str(self.own_options),
            "BROKER_PLAIN_ADDRESS": "127.0.0.1",
            "BROKER_PLAIN_PORT": str(free_port()),
            "BROKER_TLS_PORT": str(free_port()),
            **variables,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> Settings:
        return load(Settings, self.variables)

    @property
    def port(self) -> int:
        return self.settings.broker_plain_port

    @property
    def secrets(self) -> Path:
        return Path(self.variables["SECRETS_FOLDER"])

    def option(self, *lines: str, file: str = "test.conf") -> None:
        """More options of Mosquitto, as a person would give them."""
        with (self.own_options / file).open("a") as options:
            options.write("".join(f"{line}\n" for line in lines))

    def env_file(self, place: str, **variables: str) -> None:
        path = self.env_files / place
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))

    def set_up(self, now: datetime | None = None, **how: str) -> Report:
        return set_up(self.settings, now or datetime.now(UTC), **how)

    def password(self, user: str) -> str:
        return (self.secrets / user / "mqtt_password").read_text().strip()

    # -- the broker -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start Mosquitto as its container does, with the script that the set-up wrote."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", str(self.secrets / "mosquitto" / "run.sh")],
                stdout=log,
                stderr=log,
                env={**os.environ, "WATCH_SECONDS": "0.1"},
                start_new_session=True,
            )
        for port in (self.port, self.settings.broker_tls_port):
            until(lambda port=port: not port or _listens(port), f"port {port}", lambda: self.log.read_text())

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal and wait until it has ended; its exit code."""
        process, self._process = self._process, None
        assert process is not None
        process.send_signal(how)
        code = process.wait(SOON_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the watch of run.sh
        return code

    @contextlib.contextmanager
    def running(self) -> Iterator[Installation]:
        self.start()
        try:
            yield self
        finally:
            if self._process is not None:
                self.end()

    def denied(self) -> list[str]:
        """What the broker's log says of refused messages."""
        return [line for line in self.log.read_text(errors="replace").splitlines() if "Denied PUBLISH" in line]

    # -- clients ----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def client(self, user: str, password: str | None = None, **how: Any) -> Iterator[Client]:
        """A client that signed in, or tried to."""
        client = Client(self.port, user, self.password(user) if password is None else password, **how)
        try:
            yield client
        finally:
            client.close()


def _listens(port: int) -> bool:
    """Asked of the system: whoever connects to the port for TLS and goes again is an error in the broker's log."""
    if not LISTENING.exists():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0
    sockets = [line.split() for line in LISTENING.read_text().splitlines()[1:]]
    return any(fields[1].endswith(f":{port:04X}") and fields[3] == "0A" for fields in sockets)


def until(holds: Any, what: str = "", tell: Any = str) -> Any:
    """Wait for an effect that another process has."""
    end = time.monotonic() + SOON_S
    while not (result := holds()):
        assert time.monotonic() < end, f"not within {SOON_S:g} s: {what}\n{tell()}"
        time.sleep(0.02)
    return result


class Client:
    """A paho client, driven by the test: no threads, reason codes to look at."""

    def __init__(
        self,
        port: int,
        user: str | None,
        password: str | None,
        *,
        client_id: str = "",
        session_s: int = 0,
        will: str = "",
        ca: Path | None = None,
        transport: Any = "tcp",
        host: str = "127.0.0.1",
    ) -> None:
        self.seen: list[tuple[str, bytes]] = []
        self.properties: dict[str, Any] = {}
        self.codes: dict[int, int] = {}
        self.connected: int | None = None
        self.session_present = False
        self.lost = False
        self._paho = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5, transport=transport
        )
        self._paho.max_inflight_messages_set(1000)
        if user is not None:
            self._paho.username_pw_set(user, password)
        if will:
            self._paho.will_set(will, b"will", 1)
        if ca is not None:
            self._paho.tls_set(str(ca))
        self._paho.on_connect = self._on_connect
        self._paho.on_disconnect = lambda *_: setattr(self, "lost", True)
        self._paho.on_message = self._on_message
        self._paho.on_publish = lambda _c, _u, mid, code, _p: self.codes.update({mid: code.value})
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = session_s
        self._paho.connect(host, port, clean_start=not session_s, properties=properties)
        self.until(lambda: self.connected is not None, "an answer")

    def _on_connect(self, _c: Any, _u: Any, flags: Any, code: Any, _p: Any) -> None:
        self.connected, self.session_present = code.value, flags.session_present

    def _on_message(self, _c: Any, _u: Any, message: paho.MQTTMessage) -> None:
        self.seen.append((message.topic, message.payload))
        self.properties[message.topic] = message.properties

    def until(self, holds: Any, what: str = "") -> Any:
        end = time.monotonic() + SOON_S
        while not (result := holds()):
            assert time.monotonic() < end, f"not within {SOON_S:g} s: {what}"
            self._paho.loop(0.02)
        return result

    def publish(self, *topics: str, payload: bytes = b"1", retain: bool = False, **properties: Any) -> list[int]:
        """The broker's reason code for each."""
        told = Properties(PacketTypes.PUBLISH)
        for name, value in properties.items():
            setattr(told, name, value)
        mids = [self._paho.publish(topic, payload, 1, retain, properties=told).mid for topic in topics]
        self.until(lambda: self.codes.keys() >= set(mids), f"PUBACKs of {topics}")
        return [self.codes[mid] for mid in mids]

    def subscribe(self, *topics: str) -> list[int]:
        codes: list[int] = []
        self._paho.on_subscribe = lambda _c, _u, _mid, granted, _p: codes.extend(code.value for code in granted)
        self._paho.subscribe([(topic, 1) for topic in topics])
        self.until(lambda: len(codes) == len(topics), "SUBACK")
        return codes

    def topics(self) -> list[str]:
        return [topic for topic, _ in self.seen]

    def drop(self) -> None:
        """End the connection as a crash does: without a word."""
        sock = self._paho.socket()
        assert sock is not None
        sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._paho.disconnect()
        with contextlib.suppress(OSError, ValueError):
            self._paho.loop(0.02)


def tool(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program that we did not write."""
    assert shutil.which(arguments[0]), f"{arguments[0]} is not installed"
    return subprocess.run(arguments, capture_output=True, text=True, timeout=PATIENCE_S, check=False, **options)
