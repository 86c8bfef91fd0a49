"""Mosquitto with the configuration that the set-up wrote: what it keeps, what it bounds, how it is watched."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.broker.installation import NOT_AUTHORISED, Client, Installation, tool, until
from wattbus.mqtt.embedded_broker import LOSSLESS
from wattbus.mqtt.packets import LARGEST_PACKET, LONGEST_PAYLOAD
from wattbus.testing.waiting import PATIENCE_S

A_DAY = 86_400


def test_the_numbers_are_those_that_were_measured(installation: Installation) -> None:
    lines = (installation.secrets / "mosquitto" / "mosquitto.conf").read_text().splitlines()
    assert set(LOSSLESS) < set(lines)
    assert {
        "persistence true", "autosave_interval 30", "max_inflight_messages 100", "max_queued_messages 500000",
        "max_queued_bytes 536870912", "set_tcp_nodelay true", "persistent_client_expiration 14d",
        "allow_anonymous false",
    } < set(lines)  # fmt: skip
    assert not any(line.startswith("memory_limit") for line in lines)


def test_mosquitto_has_nothing_to_complain_about(installation: Installation) -> None:
    with installation.running():
        pass
    log = installation.log.read_text()
    complaints = [line for line in log.splitlines() if "Error" in line or "Warning" in line]
    assert [line for line in complaints if "run as root" not in line] == []


def waiting(installation: Installation, messages: int) -> None:
    """History has subscribed and is away; these messages wait for it."""
    with installation.client("history", client_id="history", session_s=A_DAY) as history:
        history.subscribe("+/values")
    with installation.client("heatpump") as connector:
        codes = connector.publish(*["heatpump/values"] * messages, payload=b"x" * 100)
        assert set(codes) == {0}


def received(installation: Installation) -> int:
    with installation.client("history", client_id="history", session_s=A_DAY) as history:
        history.publish("history/status")
        history.until(lambda: history.codes)
        time.sleep(0.2)  # that nothing more comes cannot be waited for
        history.publish("history/status")
        return history.topics().count("heatpump/values")


def test_more_wait_than_stock_mosquitto_keeps(installation: Installation) -> None:
    """Stock Mosquitto keeps 1,000 and answers the others as if it had them."""
    with installation.running():
        waiting(installation, 3000)
        with installation.client("history", client_id="history", session_s=A_DAY) as history:
            history.until(lambda: len(history.seen) == 3000, "3,000 messages")


def test_a_stop_keeps_what_waits(installation: Installation) -> None:
    with installation.running():
        waiting(installation, 500)
        assert installation.end(signal.SIGTERM) == 0
        installation.start()
        assert received(installation) == 500


def test_a_kill_keeps_what_was_saved_and_loses_what_was_not(installation: Installation) -> None:
    """Saved every 30 s. What came after the last time is why connectors hold readings until history's receipt."""
    state = installation.folder / "data" / "mosquitto.db"
    with installation.running():
        waiting(installation, 200)
        process = installation._process
        assert process is not None
        process.send_signal(signal.SIGUSR1)  # save now: what happens every autosave_interval
        until(state.exists, "the state on the disk")
        until(lambda: b"heatpump/values" in state.read_bytes(), "the messages on the disk")
        with installation.client("heatpump") as connector:
            connector.publish(*["heatpump/values"] * 50)
        installation.end(signal.SIGKILL)
        installation.start()
        assert received(installation) == 200


def test_it_is_saved_by_itself(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    installation.option("autosave_interval 1")
    installation.env_file("modbus_tcp/.env", CONNECTOR_NAME="heatpump")
    installation.set_up()
    state = installation.folder / "data" / "mosquitto.db"
    with installation.running():
        waiting(installation, 200)
        until(lambda: state.exists() and state.read_bytes().count(b"heatpump/values") >= 200, "the state on the disk")
        installation.end(signal.SIGKILL)
        installation.start()
        assert received(installation) == 200


def test_too_large_is_told_to_its_sender(installation: Installation) -> None:
    """A reader's limit is kept without a word; so the broker's own must not be above it."""
    with installation.running(), installation.client("heatpump") as client:
        assert client.publish("heatpump/values", payload=b"x" * LONGEST_PAYLOAD) == [16]
        client._paho.publish("heatpump/values", b"x" * LARGEST_PACKET, 1)
        client.until(lambda: client.lost)


def test_a_client_id_belongs_to_whoever_uses_it(installation: Installation) -> None:
    """Any user can push another one's client off, but can neither read nor speak in its place."""
    with (
        installation.running(),
        installation.client("history", client_id="history", session_s=A_DAY) as history,
        installation.client("heatpump", client_id="history", session_s=A_DAY) as thief,
        installation.client("meters-cellar") as other,
    ):
        history.until(lambda: history.lost)
        thief.subscribe("+/values", "history/#")
        other.publish("meters-cellar/values")
        assert thief.publish("history/status") == [NOT_AUTHORISED]
        assert thief.seen == []


# -- run.sh -----------------------------------------------------------------------------------------------------------


def health(installation: Installation) -> subprocess.CompletedProcess[str]:
    return tool("/bin/sh", str(installation.secrets / "mosquitto" / "run.sh"), "health")


def test_health(installation: Installation) -> None:
    assert health(installation).returncode != 0
    with installation.running():
        told = health(installation)
        assert (told.returncode, told.stderr) == (0, "")
        assert told.stdout.endswith("seconds\n")
        installation.set_up(rotate="health")
        until(lambda: health(installation).returncode == 0, "health with the new password")
    assert installation.password("health") not in installation.log.read_text()


def test_a_broker_that_hangs_is_not_healthy(installation: Installation) -> None:
    with installation.running():
        process = installation._process
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)
        try:
            assert health(installation).returncode != 0
        finally:
            os.kill(process.pid, signal.SIGCONT)


def test_mosquitto_is_the_process_itself(installation: Installation) -> None:
    """So that a container's stop reaches it, and its exit code the container."""
    with installation.running():
        process = installation._process
        assert process is not None
        name = Path(f"/proc/{process.pid}/comm")
        until(lambda: name.read_text() == "mosquitto\n", "the shell has made way")
        until(lambda: " running" in installation.log.read_text(), "it listens to signals")
        assert installation.end(signal.SIGTERM) == 0
        installation.start()


def test_nothing_is_told_while_nothing_changes(installation: Installation) -> None:
    with installation.running():
        installation.set_up()
        time.sleep(0.5)  # five looks
        assert "Reloading config" not in installation.log.read_text()
        installation.env_file("keba/.env", CONNECTOR_NAME="wallbox")
        installation.set_up()
        until(lambda: "Reloading config" in installation.log.read_text(), "the reload")
        time.sleep(0.5)
        assert installation.log.read_text().count("Reloading config") == 1


@pytest.mark.parametrize("broken", ["passwd", "acl", "certs/server.pem"])
def test_a_broker_without_its_files_does_not_start(installation: Installation, broken: str) -> None:
    """Rather none than one without rules."""
    (installation.secrets / "mosquitto" / broken).unlink()
    script = str(installation.secrets / "mosquitto" / "run.sh")
    with installation.log.open("wb") as log:
        ended = subprocess.run(["/bin/sh", script], stdout=log, stderr=log, timeout=PATIENCE_S, check=False)
    assert ended.returncode != 0


def test_somebody_without_tls(tmp_path: Path) -> None:
    installation = Installation(tmp_path, BROKER_TLS_PORT="0")
    installation.set_up()
    assert "certfile" not in (installation.secrets / "mosquitto" / "mosquitto.conf").read_text()
    assert not (installation.secrets / "certificate-authority").exists()
    with installation.running():
        assert Client(installation.port, "reader", installation.password("reader")).connected == 0
