"""The set-up: what it writes, for whom, and that it never makes anything anew."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from broker.secret_files import SECRETS
from broker.set_up import Report
from broker.users import BUILT_IN
from tests.broker.installation import NOT_AUTHORISED, Installation, until
from wattbus.errors import ConfigError


def snapshot(folder: Path) -> dict[str, tuple[bytes, int, int, int]]:
    """Every file: content, node, time of the last change, mode."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != ".lock":
            facts = path.stat()
            found[str(path.relative_to(folder))] = (path.read_bytes(), facts.st_ino, facts.st_mtime_ns, facts.st_mode)
    return found


def differences(
    before: dict[str, tuple[bytes, int, int, int]], after: dict[str, tuple[bytes, int, int, int]]
) -> set[str]:
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def test_the_second_run_changes_nothing(installation: Installation) -> None:
    before = snapshot(installation.secrets)
    assert installation.set_up() == Report()
    assert snapshot(installation.secrets) == before


def test_what_is_there_after_the_first(installation: Installation) -> None:
    users = {user.name for user in BUILT_IN} | {"heatpump", "meters-cellar"}
    there = set(snapshot(installation.secrets))
    expected = {f"{user}/{file}" for user in users for file in ("mqtt_username", "mqtt_password", "ca.crt")}
    expected |= {f"{user}/database_url" for user in ("history", "raw-db", "api")}
    expected |= {secret.place for secret in SECRETS} | {copy for secret in SECRETS for copy in secret.copies}
    expected |= {
        f"connectors/{kind}/{file}"
        for kind in ("modbus_tcp", "im871a")
        for file in ("mqtt_username", "mqtt_password", "ca.crt")
    }
    broker = ("mosquitto.conf", "acl", "passwd", "run.sh", "certs/server.pem", "health/mosquitto_sub")
    expected |= {f"mosquitto/{file}" for file in broker}
    expected |= {"users.json", "public/ca.crt", "certificate-authority/ca.pem"}
    assert there == expected


def test_secrets_are_unlike_and_belong_to_few(installation: Installation) -> None:
    secrets = [
        path.read_text().strip()
        for path in installation.secrets.rglob("*password*")
        if "connectors" not in path.parts and path.parent.name != "grafana"
    ]
    assert len(set(secrets)) == len(secrets) > 12
    for name, (_, _, _, mode) in snapshot(installation.secrets).items():
        other = {"database", "grafana", "pgadmin", "public"}
        assert bool(mode & stat.S_IRWXO) == (name.split("/")[0] in other), name
    for folder in ("certificate-authority", "heatpump", "mosquitto"):
        assert not (installation.secrets / folder).stat().st_mode & stat.S_IRWXO


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_owners(installation: Installation) -> None:
    installation.variables |= {"BROKER_UID": "1883", "BROKER_GID": "1884", "SECRETS_GID": "10001"}
    installation.set_up()

    def owner(place: str) -> tuple[int, int, int]:
        facts = (installation.secrets / place).stat()
        return facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode)

    assert owner("mosquitto/passwd") == (1883, 1884, 0o440)
    assert owner("mosquitto/certs") == (0, 1884, 0o750)
    assert owner("heatpump") == (0, 10001, 0o750)
    assert owner("heatpump/mqtt_password") == (0, 10001, 0o440)
    assert owner("certificate-authority/ca.pem") == (0, 0, 0o400)
    assert owner("database/password") == (0, 0, 0o444)


def test_databases(installation: Installation) -> None:
    password = (installation.secrets / "database" / "password").read_text().strip()
    url = (installation.secrets / "history" / "database_url").read_text()
    assert url == f"postgresql://wattbus:{password}@database:5432/wattbus\n"
    reader = (installation.secrets / "database" / "reader_password").read_text()
    assert (installation.secrets / "grafana" / "database_password").read_text() == reader


# -- users come and go ------------------------------------------------------------------------------------------------


def test_a_new_connector_adds_just_this(installation: Installation) -> None:
    before = snapshot(installation.secrets)
    rules, passwords = (installation.secrets / "mosquitto" / name for name in ("acl", "passwd"))
    old_rules, old_passwords = rules.read_text(), passwords.read_text().splitlines()
    installation.env_file("keba/.env", CONNECTOR_NAME="wallbox")
    report = installation.set_up()
    assert report == Report(
        ["new user: wallbox (connector)", "new secret: wallbox/mqtt_password", "written for the broker: acl, passwd"]
    )
    new = {f"{place}/{file}" for place in ("wallbox", "connectors/keba") for file in
           ("mqtt_username", "mqtt_password", "ca.crt")}  # fmt: skip
    changed = {"mosquitto/acl", "mosquitto/passwd", "users.json"}
    assert differences(before, snapshot(installation.secrets)) == new | changed
    [block] = set(rules.read_text().strip().split("\n\n")) - set(old_rules.strip().split("\n\n"))
    assert block == (
        "# a connector\nuser wallbox\ntopic deny wallbox/controls\ntopic readwrite wallbox/#\ntopic read +/status\n"
        "topic read history/receipts/wallbox"
    )
    assert [line for line in passwords.read_text().splitlines() if not line.startswith("wallbox:")] == old_passwords


def test_the_running_broker_learns_of_it(installation: Installation) -> None:
    with installation.running(), installation.client("heatpump") as other:
        installation.env_file("keba/.env", CONNECTOR_NAME="wallbox")
        installation.set_up()

        def wallbox_is_in() -> bool:
            with installation.client("wallbox") as client:
                return client.connected == 0 and client.publish("wallbox/values") == [16]

        until(wallbox_is_in, "the new user")
        assert other.publish("heatpump/values") == [16]


def test_a_user_that_nothing_names_keeps_its_access_until_it_is_removed(installation: Installation) -> None:
    """An env folder that was not mounted for once must not lock a house out."""
    (installation.env_files / "modbus_tcp" / ".env").unlink()
    with installation.running(), installation.client("heatpump") as client:
        [remark] = installation.set_up().remarks
        assert "nothing names the user heatpump any more (connectors/modbus_tcp/.env)" in remark
        assert client.publish("heatpump/values") == [16]
        assert installation.set_up(remove="heatpump").done[0] == "user gone: heatpump"
        client.until(lambda: client.lost)
        with installation.client("heatpump", "x") as again:
            assert again.connected == NOT_AUTHORISED
    assert not (installation.secrets / "heatpump").exists()
    assert not (installation.secrets / "connectors" / "modbus_tcp").exists()
    assert "heatpump" not in (installation.secrets / "mosquitto" / "acl").read_text()
    assert installation.set_up() == Report()


def test_removing_a_former_name_leaves_the_new_one_alone(installation: Installation) -> None:
    installation.env_file("modbus_tcp/.env", CONNECTOR_NAME="boiler")
    installation.set_up()
    installation.set_up(remove="heatpump")
    assert (installation.secrets / "connectors" / "modbus_tcp" / "mqtt_username").read_text() == "boiler\n"
    assert (
        (installation.secrets / "connectors" / "modbus_tcp" / "mqtt_password").read_text()
        == (installation.secrets / "boiler" / "mqtt_password").read_text()
    )  # fmt: skip


@pytest.mark.parametrize(
    ("how", "fault"),
    [
        ({"remove": "heatpump"}, "heatpump would be back at the next set-up (connectors/modbus_tcp/.env)"),
        ({"remove": "history"}, "history would be back at the next set-up (built in)"),
        ({"remove": "nobody"}, "there is no user nobody"),
        ({"rotate": "nobody"}, "there is no user or secret nobody"),
        ({"rotate": "mosquitto/passwd"}, "there is no user or secret mosquitto/passwd"),
    ],
)
def test_what_cannot_be_removed_or_rotated(installation: Installation, how: dict[str, str], fault: str) -> None:
    before = snapshot(installation.secrets)
    with pytest.raises(ConfigError) as error:
        installation.set_up(**how)
    assert fault in str(error.value)
    assert snapshot(installation.secrets) == before


def test_one_password_is_rotated(installation: Installation) -> None:
    before, old = snapshot(installation.secrets), installation.password("heatpump")
    with installation.running(), installation.client("heatpump") as client, installation.client("history") as other:
        report = installation.set_up(rotate="heatpump")
        assert report == Report(["new secret: heatpump/mqtt_password", "written for the broker: passwd"])
        client.until(lambda: client.lost)  # who came in with the old one is sent away
        assert other.publish("history/status") == [16]
        with installation.client("heatpump", old) as late, installation.client("heatpump") as new:
            assert (late.connected, new.connected) == (NOT_AUTHORISED, 0)
    changed = {"heatpump/mqtt_password", "connectors/modbus_tcp/mqtt_password", "mosquitto/passwd"}
    assert differences(before, snapshot(installation.secrets)) == changed


def test_a_secret_of_the_database_is_rotated(installation: Installation) -> None:
    before = snapshot(installation.secrets)
    installation.set_up(rotate="database/reader_password")
    after = snapshot(installation.secrets)
    assert differences(before, after) == {"database/reader_password", "grafana/database_password"}
    assert after["database/reader_password"][0] == after["grafana/database_password"][0]


def test_a_password_of_ones_own(installation: Installation) -> None:
    file = installation.secrets / "operator" / "mqtt_password"
    file.chmod(0o600)
    file.write_text("a phrase: of my own")
    installation.set_up()
    with installation.running(), installation.client("operator", "a phrase: of my own") as client:
        assert client.connected == 0
    assert file.read_text() == "a phrase: of my own"


def test_a_power_cut_between_two_files(installation: Installation) -> None:
    """What an interrupted run left unfinished the next one finishes."""
    kept = installation.password("history")
    (installation.secrets / "heatpump" / "mqtt_password").unlink()
    for file, content in {"passwd": "", "certs/server.pem": "-----BEGIN CERTIFICATE-----\nhal"}.items():
        (installation.secrets / "mosquitto" / file).unlink()
        (installation.secrets / "mosquitto" / file).write_text(content)
    (installation.secrets / "users.json").unlink()
    installation.set_up()
    assert installation.password("history") == kept
    with installation.running(), installation.client("heatpump") as a, installation.client("history") as b:
        assert (a.connected, b.connected) == (0, 0)


@pytest.mark.parametrize(
    ("file", "content", "fault"),
    [
        ("users.json", "{", "users.json: not what the set-up writes"),
        ("users.json", '{"a": {"role": "king"}}', "users.json: not what the set-up writes"),
        ("heatpump/mqtt_password", "two\nlines", "heatpump/mqtt_password: expected one line of text"),
        ("certificate-authority/ca.pem", "-----BEGIN CERTIFICATE-----\nhal", "ca.pem: damaged"),
    ],
)
def test_what_is_damaged_is_named_and_left_alone(
    installation: Installation, file: str, content: str, fault: str
) -> None:
    path = installation.secrets / file
    path.chmod(0o600)
    path.write_text(content)
    with pytest.raises(ConfigError) as error:
        installation.set_up()
    assert fault in str(error.value)
    assert path.read_text() == content


# -- env files --------------------------------------------------------------------------------------------------------


def users(installation: Installation) -> dict[str, str]:
    from broker.users import read_register

    return {name: user.role for name, user in read_register(installation.secrets / "users.json").items()}


def test_names_of_every_sort(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    installation.env_file("keba/.env", CONNECTOR_NAME="keba-yard", KEBA_PASSWORD="of-the-wallbox")
    installation.env_file("keba/garage.env", CONNECTOR_NAME='"keba-garage"')
    installation.env_file("knx/.env.example", CONNECTOR_NAME="example")
    installation.env_file("dsmr_p1/.env", POLL_SECONDS="5")
    installation.env_file("modbus_tcp.boiler.env", CONNECTOR_NAME="boiler")
    installation.env_file("history.env", SERVICE_NAME="history-2")
    installation.env_file("emoncms.env", LOGLEVEL="DEBUG")
    installation.env_file("anything.env", SERVICE="raw_db", SERVICE_NAME="raw-2")
    installation.env_file("common.env", CONNECTOR_NAME="shared")
    installation.env_file(".env", CONNECTOR_NAME="suite")
    (installation.env_files / "__pycache__").mkdir()
    report = installation.set_up()
    own = {name: role for name, role in users(installation).items() if name not in {user.name for user in BUILT_IN}}
    assert own == {
        "keba-yard": "connector", "keba-garage": "connector", "knx": "connector", "dsmr-p1": "connector",
        "boiler": "connector", "history-2": "history", "emoncms": "forwarder", "raw-2": "raw-db",
    }  # fmt: skip
    assert report.remarks == []
    places = {path.name for path in (installation.secrets / "connectors").iterdir()}
    assert places == {
        "keba", "keba.garage", "knx", "dsmr_p1", "modbus_tcp.boiler", "history", "emoncms", "anything",
    }  # fmt: skip
    assert (installation.secrets / "connectors" / "history" / "database_url").is_file()
    assert "of-the-wallbox" not in "".join(str(content) for content in snapshot(installation.secrets).values())


def test_a_name_that_nobody_chose_makes_way(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    installation.env_file("knx/.env.example")
    installation.set_up()
    assert "knx" in users(installation)
    installation.env_file("knx/.env", CONNECTOR_NAME="knx-house")
    report = installation.set_up()
    assert "user gone: knx" in report.done
    assert report.remarks == []
    assert (installation.secrets / "connectors" / "knx" / "mqtt_username").read_text() == "knx-house\n"


@pytest.mark.parametrize(
    ("name", "remark"),
    [
        ("Wallbox", "connectors/keba/.env: no user is made: 'Wallbox': use lower case letters"),
        ("a/b", "no user is made: 'a/b': use lower case"),
        ("+", "no user is made: '+': use lower case"),
        ("#", "no user is made: '#': use lower case"),
        ("a:b", "no user is made: 'a:b': use lower case"),
        ("../x", "no user is made: '../x': use lower case"),
        ("mosquitto", "no user is made: 'mosquitto' is reserved"),
        ("v2", "no user is made: 'v2' is reserved"),
        ("python_controller", "no user is made: 'python_controller' is reserved"),
        ("history", "no user is made: history is the name of a history (built in)"),
        ("reader", "no user is made: reader is the name of a reader (built in)"),
        ("heatpump", "the name heatpump is in connectors/modbus_tcp/.env too: only one of them can run"),
    ],
)
def test_a_bad_name_costs_its_own_connector_only(installation: Installation, name: str, remark: str) -> None:
    installation.env_file("keba/.env", CONNECTOR_NAME=f"'{name}'")
    [said] = installation.set_up().remarks
    assert remark in said or remark in said.replace("connectors/keba/.env", "connectors/modbus_tcp/.env")
    assert {"heatpump", "meters-cellar"} <= users(installation).keys()


def test_an_env_file_that_cannot_be_read(installation: Installation) -> None:
    installation.env_file("keba/.env")
    (installation.env_files / "keba" / ".env").write_bytes(b"CONNECTOR_NAME=\xff\xfe\n")
    [said] = installation.set_up().remarks
    assert "keba/.env: cannot read it" in said


@pytest.mark.parametrize(
    ("variables", "fault"),
    [
        ({"BROKER_USERS": "a:king"}, "BROKER_USERS: a: there is no role 'king' (there are: connector, history"),
        ({"BROKER_USERS": "A"}, "BROKER_USERS: 'A': use lower case letters"),
        ({"BROKER_USERS": "a,a"}, "BROKER_USERS: there is a user a already"),
        ({"BROKER_USERS": "admin:reader"}, "BROKER_USERS: there is a user admin already"),
        ({"BROKER_USERS": "grafana:reader"}, "BROKER_USERS: 'grafana' is reserved"),
        ({"ENVIRONMENT_FOLDER": "/does/not/exist"}, "ENVIRONMENT_FOLDER: there is no folder /does/not/exist"),
        ({"BROKER_EXTRA_RULES": "topic read x"}, "BROKER_EXTRA_RULES: line 1: a rule needs"),
        ({"BROKER_TLS_NAMES": "ok.org, not ok"}, "BROKER_TLS_NAMES: not ok is neither a host name nor an address"),
        ({"BROKER_PLAIN_ADDRESS": "eth0"}, "BROKER_PLAIN_ADDRESS: expected an address like 127.0.0.1"),
        ({"BROKER_DATA_FOLDER": "data"}, "BROKER_DATA_FOLDER: expected an absolute path"),
        ({"BROKER_TLS_CA": "x"}, "BROKER_TLS_CA: only with BROKER_TLS_CERT and BROKER_TLS_KEY"),
    ],
)
def test_wrong_settings_are_named_before_anything_is_written(
    installation: Installation, variables: dict[str, str], fault: str
) -> None:
    before = snapshot(installation.secrets)
    installation.variables |= variables
    with pytest.raises(ConfigError) as error:
        installation.set_up()
    assert fault in str(error.value)
    assert snapshot(installation.secrets) == before


def test_users_of_the_setting(tmp_path: Path) -> None:
    installation = Installation(tmp_path, BROKER_USERS="heatpump, anna:reader,, second:history,")
    installation.env_file("modbus_tcp/.env", CONNECTOR_NAME="heatpump")
    assert installation.set_up().remarks == []
    named = users(installation)
    assert (named["heatpump"], named["anna"], named["second"]) == ("connector", "reader", "history")
    assert (installation.secrets / "second" / "database_url").is_file()
    assert (installation.secrets / "connectors" / "modbus_tcp" / "mqtt_username").read_text() == "heatpump\n"
