"""docker-compose.yml as it stands, without an engine: what holds for every service, and that its settings are real."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from wattbus.cli import demo, discovery
from wattbus.errors import ConfigError
from wattbus.settings import load, read_env_file, unknown_variables

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOTS = {"setup", "database-setup"}
BEGIN_AS_ROOT = {"setup", "database"}  # the one gives files to their owners, the other's entry point becomes postgres
OWN = {name: service for name, service in SERVICES.items() if "/wattbus" in service["image"] or "build" in service}
KINDS = sorted(path.parent.name for path in ROOT.glob("connectors/*/connector.py"))
INSTRUCTIONS = re.sub(r"^\s*#.*$", "", TEXT, flags=re.MULTILINE)
VARIABLE = re.compile(r"\$\{([A-Z_]+)")

every_service = pytest.mark.parametrize("name", SERVICES)


def image_of(service: dict[str, Any]) -> str:
    """`${IMAGE_PREFIX:-wattbus}/history:${IMAGE_TAG:-latest}` → `history`."""
    return str(service["image"]).partition("/")[2].partition(":")[0]


def mounts(service: dict[str, Any], source: str) -> list[dict[str, Any]]:
    long = [mount for mount in service.get("volumes", []) if isinstance(mount, dict)]
    return [mount for mount in long if mount["source"] == source]


@every_service
def test_comes_back_and_does_not_fill_the_disk(name: str) -> None:
    service = SERVICES[name]
    assert service["restart"] == ("no" if name in ONE_SHOTS else "unless-stopped")
    assert service["init"] == (name != "database")  # PostgreSQL looks after its processes itself
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}


@every_service
def test_may_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    limits = service["deploy"]["resources"]["limits"]
    assert {"memory", "cpus", "pids"} == set(limits)
    if name in BEGIN_AS_ROOT:
        assert service["cap_add"]
    elif "build" not in service and name not in ("grafana", "pgadmin"):  # those images have users of their own
        assert int(service["user"].partition(":")[0]) > 0


@every_service
def test_has_a_health_check(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    if name in ONE_SHOTS:
        assert check == {"disable": True}
    else:
        assert check["test"] and check["interval"] and check["start_interval"] and check["retries"]


@every_service
def test_ports_are_for_this_machine_unless_asked(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert port.startswith(("127.0.0.1:", "${BIND_ADDRESS:-127.0.0.1}:")), port


def test_what_has_no_sign_in_stays_on_this_machine_even_when_asked() -> None:
    assert SERVICES["api"]["ports"] == ["127.0.0.1:${PAGE_PORT:-8080}:8080"]
    assert "127.0.0.1:${MQTT_PORT:-1883}:1883" in SERVICES["broker"]["ports"]
    assert SERVICES["api"]["environment"]["API_BEHIND_GATEWAY"] == "TRUE"


def test_together_they_fit_a_raspberry_pi_4() -> None:
    """4 GB, even if all went to their bounds at once; what they really take is in docs/containers.md."""
    limits = [
        service["deploy"]["resources"]["limits"]["memory"]
        for name, service in SERVICES.items()
        if "profiles" not in service and name not in ONE_SHOTS
    ]
    megabytes = [int(text[:-1]) * {"m": 1, "g": 1024}[text[-1]] for text in limits]
    assert sum(megabytes) <= 4 * 1024, megabytes


@every_service
def test_devices_are_for_connectors_at_serial_ports(name: str) -> None:
    service = SERVICES[name]
    sees_devices = "/dev:/dev:ro" in service.get("volumes", [])
    assert sees_devices == ("device_cgroup_rules" in service) == ("group_add" in service)
    assert "devices" not in service  # a device that is missing would keep the container from starting
    if sees_devices:
        assert service["profiles"] == [image_of(service)]


# -- secrets and data -------------------------------------------------------------------------------------------------


@every_service
def test_sees_its_own_secrets_only(name: str) -> None:
    service = SERVICES[name]
    whole = [mount for mount in service.get("volumes", []) if isinstance(mount, str) and mount.startswith("secrets:")]
    assert bool(whole) == (name == "setup")
    for mount in mounts(service, "secrets"):
        assert mount["read_only"] is True
        own = {"broker": "mosquitto", "database-setup": "database"}.get(name, name)
        if "build" in service and "env_file" in service and image_of(service) in KINDS:
            own = f"connectors/{image_of(service)}"
        assert mount["volume"]["subpath"] == own


def test_no_two_share_their_data() -> None:
    data = [
        mount.partition(":")[0]
        for service in SERVICES.values()
        for mount in service.get("volumes", [])
        if isinstance(mount, str) and not mount.startswith(("./", "/", "secrets:"))
    ]
    assert len(data) == len(set(data))
    assert set(data) | {"secrets"} == set(COMPOSE["volumes"])


# -- settings ---------------------------------------------------------------------------------------------------------


def variables_of(service: dict[str, Any], tmp_path: Path) -> dict[str, str]:
    """The environment that a container gets, its secret files made."""
    environment = {}
    for name, value in service["environment"].items():
        environment[name] = re.sub(r"\$\{[A-Z_]+:?-(.*)\}\s*$", r"\1", value, flags=re.DOTALL)
        if name.endswith("_FILE") and value:
            secret = tmp_path / Path(value).name
            secret.write_text("postgresql://u:p@database/d\n" if "DATABASE" in name else "secret\n")
            environment[name] = str(secret)
    return environment


@pytest.mark.parametrize("name", [name for name in OWN if name != "setup"])
def test_settings_are_those_of_the_service(name: str, tmp_path: Path) -> None:
    service = SERVICES[name]
    settings_class = discovery.settings_class(image_of(service))
    environment = variables_of(service, tmp_path)
    assert unknown_variables(settings_class, set(environment)) == {}
    try:
        settings = load(settings_class, environment)
    except ConfigError as fault:
        # What only the user can say comes from the env file beside the connector.
        assert "env_file" in service, fault
        assert all(line.endswith("is required and not set") for line in str(fault).splitlines()), fault
        return
    assert str(settings.data_directory) == "/data" and settings.http_port


@pytest.mark.parametrize("name", [name for name in OWN if name not in ("setup", "heatpump", "demo-device")])
def test_env_files_stand_beside_their_examples(name: str) -> None:
    [env_file] = SERVICES[name]["env_file"]
    assert env_file["required"] is False  # a fresh clone has none
    assert (ROOT / env_file["path"]).with_name(".env.example").is_file()
    assert (ROOT / env_file["path"]).parent.name == image_of(SERVICES[name])


def test_a_copied_example_does_not_get_in_the_way(tmp_path: Path) -> None:
    """Whoever copies an .env.example has MQTT_BROKER_HOST=127.0.0.1 in it, and DATA_DIRECTORY=data."""
    for name in ("history", "raw-db", "controller", "api"):
        service = SERVICES[name]
        copied = read_env_file(ROOT / image_of(service) / ".env.example")
        settings = load(discovery.settings_class(image_of(service)), {**copied, **variables_of(service, tmp_path)})
        assert (settings.mqtt_broker_host, str(settings.data_directory)) == ("broker", "/data")


def test_the_demo_is_the_same_as_without_containers() -> None:
    heatpump = SERVICES["heatpump"]["environment"]
    assert yaml.safe_load(heatpump["MODBUS_CONFIG"]) == demo.REGISTERS
    assert heatpump["CONNECTOR_NAME"] == demo.CONNECTOR
    pairs = SERVICES["controller"]["environment"]["CONTROLLED_DATAPOINTS"]
    assert json.loads(pairs.removeprefix("${CONTROLLED_DATAPOINTS-").removesuffix("}")) == [demo.PAIR]
    for name in ("heatpump", "demo-device"):
        assert SERVICES[name]["deploy"]["replicas"] == "${DEMO:-1}" and "profiles" not in SERVICES[name]


@pytest.mark.parametrize("kind", KINDS)
def test_every_connector_has_a_profile(kind: str) -> None:
    mine = [service for service in SERVICES.values() if service.get("profiles") == [kind]]
    assert [image_of(service) for service in mine] == [kind], f"docker-compose.yml: {kind} needs a service"


def test_the_example_names_every_variable() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    named = set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE))
    used = set(VARIABLE.findall(INSTRUCTIONS)) | {
        name for name, value in COMPOSE["x-build-arguments"].items() if value is None
    }
    assert named == used | {"COMPOSE_PROFILES"}


def test_the_example_says_the_defaults() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    said = dict(re.findall(r"^#([A-Z_]+)=(.*)$", example, re.MULTILINE))
    defaults = dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", INSTRUCTIONS))
    assert {name: said[name] for name in defaults} == defaults
