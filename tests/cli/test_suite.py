"""Reading the folder of `wattbus up`: which services, with which settings, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from history.settings import Settings as HistorySettings
from tests.cli.conftest import connector_variables, env_text
from wattbus.cli.suite import Suite, read_suite
from wattbus.errors import ConfigError
from wattbus.settings import ConnectorSettings


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name.replace('__', '.')}.env").write_text(text)
    return folder


def meter(**more: str) -> str:
    variables = connector_variables(502)
    del variables["CONNECTOR_NAME"], variables["MQTT_BROKER_PORT"]
    return env_text({**variables, **more})


def read(folder: Path) -> Suite:
    return read_suite(folder, lambda _: 4711)


def faults(folder: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(folder)
    return str(caught.value).splitlines()


def test_the_file_names_service_and_name(tmp_path: Path) -> None:
    suite = read(write(tmp_path, history="", modbus_tcp__heat_pump=meter(), attic="SERVICE=modbus-tcp\n" + meter()))
    assert [(member.file, member.service.name, member.name) for member in suite.members] == [
        ("attic.env", "modbus_tcp", "attic"),
        ("history.env", "history", "history"),
        ("modbus_tcp.heat_pump.env", "modbus_tcp", "modbus-tcp-heat-pump"),
    ]


def test_only_connectors_are_named_after_their_file(tmp_path: Path) -> None:
    """Connectors wait for `history/status`: a history that took its file's name would not be found."""
    (tmp_path / "history.main.env").touch()
    assert [member.name for member in read(tmp_path).members] == ["history"]


def test_what_the_file_says_wins_over_its_name_and_over_common(tmp_path: Path) -> None:
    write(tmp_path, common="LOGLEVEL=WARNING\nPOLL_SECONDS=9\n")
    write(tmp_path, modbus_tcp__a=meter(CONNECTOR_NAME="cellar", POLL_SECONDS="3"), history="SERVICE_NAME=archive")
    history, cellar = read(tmp_path).members
    assert (history.name, history.settings.level) == ("archive", "WARNING")
    assert (cellar.name, cellar.settings.model_dump()["poll_seconds"]) == ("cellar", 3.0)


def test_the_environment_does_not_leak_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MQTT_BROKER_HOST", "DATABASE_URL", "CONNECTOR_NAME", "DATA_DIRECTORY", "LOGLEVEL"):
        monkeypatch.setenv(name, "from-the-environment")
    suite = read(write(tmp_path, history="", modbus_tcp=meter()))
    for settings in (suite.common, *(member.settings for member in suite.members)):
        assert "from-the-environment" not in str(settings.model_dump().values())


def test_the_embedded_broker_and_the_data_folder_are_the_default(tmp_path: Path) -> None:
    suite = read(write(tmp_path, history=""))
    assert suite.broker == ("127.0.0.1", 4711) and suite.broker_port == 4711
    assert suite.common.data_directory == tmp_path / "data"
    [history] = suite.members
    assert isinstance(history.settings, HistorySettings)
    assert (history.settings.mqtt_broker_port, history.settings.data_directory) == (4711, tmp_path / "data")


def test_a_port_alone_is_for_the_embedded_broker(tmp_path: Path) -> None:
    assert read(write(tmp_path, common="MQTT_BROKER_PORT=1884", history="")).broker_port == 1884


def test_another_broker_for_all_or_for_one(tmp_path: Path) -> None:
    write(tmp_path, common="MQTT_BROKER_HOST=mqtt.house\nMQTT_BROKER_PORT=1885\n")
    suite = read(write(tmp_path, history="", modbus_tcp=meter(MQTT_BROKER_HOST="elsewhere")))
    assert (suite.broker, suite.broker_port) == (("mqtt.house", 1885), None)
    addresses = [(one.settings.mqtt_broker_host, one.settings.mqtt_broker_port) for one in suite.members]
    assert addresses == [("mqtt.house", 1885), ("elsewhere", 1883)]


def test_paths_are_relative_to_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hidden\n")
    suite = read(write(tmp_path, common="MQTT_PASSWORD_FILE=secret\nDATA_DIRECTORY=store", history=""))
    password = suite.members[0].settings.mqtt_password
    assert password is not None and password.get_secret_value() == "hidden"
    assert suite.common.data_directory == tmp_path / "store"


def test_every_fault_is_told_with_file_and_variable(tmp_path: Path) -> None:
    write(tmp_path, history="HISTORY_BATCH_MESSAGES=0", modbus_tcp__a=meter(MODBUS_CONFIG="{}"), nothing="")
    write(tmp_path, modbus_tcp__b="POLL_SECONDS=1", demo_device="MQTT_BROKER_PORT=1883")
    told = faults(tmp_path)
    assert told[0] == "demo_device.env: MQTT_BROKER_PORT: without MQTT_BROKER_HOST it belongs into common.env"
    assert told[1].startswith("history.env: HISTORY_BATCH_MESSAGES: ")
    assert told[2] == "modbus_tcp.a.env: MODBUS_CONFIG: there is nothing to read or write in it"
    assert told[3] == "modbus_tcp.b.env: MODBUS_MASTER_IP is required and not set"
    assert told[5].startswith("nothing.env: there is no service 'nothing'")


def test_a_wrong_common_file_is_told_once(tmp_path: Path) -> None:
    write(tmp_path, common="HTTP_PORT=many\n", history="", modbus_tcp=meter())
    [fault] = faults(tmp_path)
    assert fault.startswith("common.env: HTTP_PORT: ")


@pytest.mark.parametrize("name", ["CONNECTOR_NAME", "SERVICE_NAME", "SERVICE"])
def test_a_name_cannot_be_shared(tmp_path: Path, name: str) -> None:
    write(tmp_path, common=f"{name}=one", history="")
    assert faults(tmp_path) == [
        f"common.env: {name}: every service needs its own, so it belongs into that service's file"
    ]


def test_two_services_cannot_have_one_name(tmp_path: Path) -> None:
    write(tmp_path, modbus_tcp__a=meter(CONNECTOR_NAME="meter"), modbus_tcp__b=meter(CONNECTOR_NAME="meter"))
    expected = "modbus_tcp.b.env: CONNECTOR_NAME: meter is the name of the service in modbus_tcp.a.env, too"
    assert faults(tmp_path) == [expected]


def test_the_embedded_broker_has_no_tls(tmp_path: Path) -> None:
    write(tmp_path, common="MQTT_TLS=TRUE", history="")
    assert faults(tmp_path) == ["common.env: MQTT_TLS: the embedded broker speaks no TLS; set MQTT_BROKER_HOST, too"]


def test_an_empty_folder_or_none(tmp_path: Path) -> None:
    assert "there is no NAME.env in it" in faults(tmp_path)[0]
    assert faults(tmp_path / "nowhere") == [f"there is no folder {tmp_path / 'nowhere'}"]


def test_remarks_name_the_file(tmp_path: Path) -> None:
    write(tmp_path, common="DATABASE_URL=sqlite:///x.db\nPOL_SECONDS=1\n", modbus_tcp=meter(POLL_SECOND="1"))
    remarks = read(write(tmp_path, history="HTTP_PORT=8000\nDJANGO_DEBUG=TRUE")).remarks
    assert remarks == (
        "history.env: accepted without effect: DJANGO_DEBUG (the API has its own settings)",
        "history.env: HTTP_PORT has no effect: the one in common.env is for all services",
        "modbus_tcp.env: POLL_SECOND: there is no such setting; do you mean POLL_SECONDS?",
        "common.env: POL_SECONDS: there is no such setting",
    )


def test_connectors_have_connector_settings(tmp_path: Path) -> None:
    [member] = read(write(tmp_path, modbus_tcp=meter())).members
    assert isinstance(member.settings, ConnectorSettings)
