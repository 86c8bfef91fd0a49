"""`python -m broker` as people and containers run it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from broker.rules import ROLES
from broker.settings import Settings
from tests.broker.installation import Installation, tool

PROJECT = Path(__file__).parents[2]


def command(installation: Installation, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    packages = os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")])
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": packages, **installation.variables, **variables}
    return tool(sys.executable, "-m", "broker", *arguments, env=environment, cwd=installation.folder)


def secrets_of(installation: Installation) -> set[str]:
    """Every generated secret, and the lines of every key."""
    found = {path.read_text().strip() for path in installation.secrets.rglob("*password*") if path.is_file()}
    for pem in installation.secrets.rglob("*.pem"):
        found |= set(pem.read_text().partition("-----END PRIVATE")[0].splitlines()[1:])
    return found


@pytest.fixture
def fresh(tmp_path: Path) -> Installation:
    installation = Installation(tmp_path)
    installation.env_file("modbus_tcp/.env", CONNECTOR_NAME="heatpump")
    return installation


def test_set_up_tells_what_it_did_and_no_secret(fresh: Installation) -> None:
    done = command(fresh)
    assert (done.returncode, done.stderr) == (0, "")
    assert "new user: heatpump (connector)\n" in done.stdout
    assert "new secret: grafana/admin_password\n" in done.stdout
    again = command(fresh, "setup")
    assert (again.returncode, again.stdout, again.stderr) == (0, "everything is there\n", "")
    rotated = command(fresh, "rotate", "heatpump")
    assert rotated.stdout.startswith(
        "new secret: heatpump/mqtt_password\nwritten for the broker: passwd\nThe broker lets the old password go"
    )
    fresh.option("log_type all")
    with fresh.running(), fresh.client("heatpump") as client, fresh.client("heatpump", "wrong"):
        client.publish("heatpump/values", "elsewhere/values")
    said = "".join(one.stdout + one.stderr for one in (done, again, rotated)) + fresh.log.read_text()
    secrets = secrets_of(fresh)
    assert len(secrets) > 12
    assert [secret for secret in secrets if secret in said] == []


def test_show_and_its_lines_work(fresh: Installation) -> None:
    assert command(fresh, "show").stderr.endswith("run the set-up (python -m broker)\n")
    command(fresh)
    shown = command(fresh, "show").stdout
    for user in ("reader", "operator", "admin"):
        assert re.search(rf"^  {user} +{fresh.password(user)}  a person who", shown, re.MULTILINE)
    for place in ("grafana/admin_password", "pgadmin/password", "database/password", "database/reader_password"):
        assert (fresh.secrets / place).read_text().strip() in shown
    assert fresh.password("heatpump") not in shown
    (fresh.folder / "ca.crt").write_text(command(fresh, "ca").stdout)
    [line] = [line for line in shown.splitlines() if line.startswith("mosquitto_sub")]
    with fresh.running(), fresh.client("heatpump") as client:
        client.publish("heatpump/status", retain=True)
        seen = tool(*shlex.split(line), "-C", "1", "-W", "5", cwd=fresh.folder)
        assert (seen.stdout, seen.stderr) == ("heatpump/status 1\n", "")


def test_show_one_user(fresh: Installation) -> None:
    command(fresh)
    shown = command(fresh, "show", "heatpump").stdout
    assert f"MQTT_USERNAME=heatpump\nMQTT_PASSWORD={fresh.password('heatpump')}\n" in shown
    assert "# read history/receipts/heatpump\n" in shown
    assert fresh.password("reader") not in shown
    wrong = command(fresh, "show", "nobody")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "the broker has no user nobody (it has: admin, api" in wrong.stderr


def test_remove(fresh: Installation) -> None:
    command(fresh)
    refused = command(fresh, "remove", "heatpump")
    assert (refused.returncode, refused.stderr) == (
        2,
        "broker: heatpump would be back at the next set-up (connectors/modbus_tcp/.env)\n",
    )
    (fresh.env_files / "modbus_tcp" / ".env").unlink()
    told = command(fresh)
    assert told.returncode == 0
    assert "python -m broker remove heatpump" in told.stderr
    assert command(fresh, "remove", "heatpump").stdout.startswith("user gone: heatpump\n")


def test_exit_codes(fresh: Installation) -> None:
    wrong = command(fresh, BROKER_TLS_PORT="many", BROKER_USERS="x:y")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("broker: BROKER_TLS_PORT: Input should be a valid integer")
    (fresh.folder / "file").touch()
    away = command(fresh, "--secrets-folder", str(fresh.folder / "file" / "below"))
    assert away.returncode == 1
    assert "cannot read or write what is needed" in away.stderr
    assert command(fresh, "dance").returncode == 2


def test_folders_on_the_command_line(fresh: Installation) -> None:
    more = fresh.folder / "forwarders"
    (more / "emoncms").mkdir(parents=True)
    (more / "emoncms" / ".env").touch()
    other = fresh.folder / "other"
    arguments = ["--secrets-folder", str(other), "--environment-folder", str(fresh.env_files)]
    done = command(fresh, *arguments, "--environment-folder", str(more))
    assert "new user: emoncms (forwarder)\n" in done.stdout
    assert "new user: heatpump (connector)\n" in done.stdout
    assert (other / "emoncms" / "mqtt_password").is_file()
    assert not fresh.secrets.exists()


def test_the_page_describes_every_setting_and_role() -> None:
    page = (PROJECT / "broker" / "README.md").read_text(encoding="utf-8")
    first_cells = "\n".join(re.findall(r"^\| (`[A-Z].*?) \|", page, re.MULTILINE))
    described = set(re.findall(r"`([A-Z][A-Z_]+)`", first_cells))
    assert described == {name.upper() for name in Settings.model_fields}
    for role in ROLES:
        assert f"| `{role}` |" in page, role
