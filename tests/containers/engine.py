"""A container engine, and the building in it: what the tests need of `docker` and `docker compose`."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SOON_S = 120.0  # a bound that only a fault reaches
BUILD_S = 1200.0
PREFIX = "wattbus-test"  # so that the images of a building that runs here are left alone
PORTS = ("PAGE_PORT", "MQTT_PORT", "MQTT_TLS_PORT", "GRAFANA_PORT")
PROBE = "pip --disable-pip-version-check download --no-deps --no-cache-dir --retries 1 --timeout 10 --dest /x"


def run(
    *command: str | Path, timeout: float = SOON_S, check: bool = True, **more: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command; its output. Raises AssertionError with what it said when it fails."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=timeout, check=False, **more)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def missing() -> str:
    """Why there is no engine for these tests, "" when there is one."""
    if shutil.which("docker") is None:
        return "there is no docker on this machine"
    for command, what in (("info", "no container engine answers"), ("compose version", "docker has no compose")):
        try:
            done = run("docker", *command.split(), timeout=20, check=False)
        except subprocess.TimeoutExpired:
            return what
        if done.returncode != 0:
            return f"{what}: {(done.stderr.strip().splitlines() or ['nothing said'])[-1]}"
    return ""


def obtain(image: str) -> str:
    """The image, or another version of it that is here already; "" when neither can be had."""
    if run("docker", "image", "inspect", image, check=False).returncode == 0:
        return image
    try:
        if run("docker", "pull", "--quiet", image, timeout=300, check=False).returncode == 0:
            return image
    except subprocess.TimeoutExpired:
        pass
    repository = image.rpartition(":")[0]
    tags = run("docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", repository).stdout.split()
    return max(tags, default="")


def network_for_builds(base_image: str, requirement: str) -> str | None:
    """The network (`default`, `host`) in which a build gets packages from where pip looks; None: in neither."""
    recipe = f"FROM {base_image}\nARG PIP_INDEX_URL\nARG PIP_EXTRA_INDEX_URL\nARG PIP_TRUSTED_HOST\n"
    recipe += f"RUN {PROBE} {requirement}\n"
    for network in ("default", "host"):
        build = ["docker", "build", "--no-cache", "--network", network, *_index_arguments(), "--quiet", "-"]
        if run(*build, input=recipe, timeout=180, check=False).returncode == 0:
            return network
    return None


def _index_arguments() -> list[str]:
    given = [name for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST") if os.environ.get(name)]
    return [part for name in given for part in ("--build-arg", name)]


def free_ports(number: int) -> list[int]:
    """Ports below those that the system gives to connections: they are bound minutes later, when images are built."""
    found: list[int] = []
    for port in random.sample(range(20_000, 30_000), 1000):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == number:
            return found
    raise AssertionError("no free ports")


def remove_left_overs() -> None:
    """Buildings of test runs that were killed: their project's name ends in the number of a process that is gone."""
    for one in json.loads(run("docker", "compose", "ls", "--all", "--format", "json").stdout):
        project = str(one["Name"])
        if re.fullmatch(rf"{PREFIX}-\d+", project) and not Path("/proc", project.rpartition("-")[2]).exists():
            run("docker", "compose", "--project-name", project, "down", "--volumes", "--remove-orphans", timeout=300)


def fresh_clone(target: Path) -> Path:
    """What git would clone of the working tree, with what is new in it: no .env of the developer's, no data."""
    if not (ROOT / ".git").exists():
        others = shutil.ignore_patterns(".venv", ".*_cache", ".hypothesis", "*.env", ".env", "data", "__pycache__")
        shutil.copytree(ROOT, target, ignore=others, dirs_exist_ok=True)
        return target
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=ROOT).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    return target


class Building:
    """One project of compose: a fresh clone with ports of its own."""

    def __init__(self, folder: Path, images: Mapping[str, str], network: str) -> None:
        self.folder = folder
        self.project = f"{PREFIX}-{os.getpid()}"
        self.ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self._environment = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": self.project,
            "IMAGE_PREFIX": PREFIX,
            **images,
            **{name: str(port) for name, port in self.ports.items()},
        }
        self._files = ["--file", "docker-compose.yml"]
        if network != "default":
            self._files += ["--file", self._with_network(network)]
        self.page = f"http://127.0.0.1:{self.ports['PAGE_PORT']}"

    def _with_network(self, network: str) -> str:
        services = self.configuration()["services"]
        built = {name: {"build": {"network": network}} for name, service in services.items() if "build" in service}
        (self.folder / "network.json").write_text(json.dumps({"services": built}))
        return "network.json"

    # -- compose ------------------------------------------------------------------------------------------------------

    def compose(self, *arguments: str, timeout: float = SOON_S, check: bool = True, **environment: str) -> str:
        """`docker compose …`; its output."""
        command = ["docker", "compose", *self._files, *arguments]
        everything = {**self._environment, **environment}
        return run(*command, timeout=timeout, check=check, cwd=self.folder, env=everything).stdout

    @contextlib.contextmanager
    def changed(self, files: Mapping[str, str]) -> Iterator[None]:
        """The clone with these files in it, docker-compose.override.yml among them."""
        for name, content in files.items():
            (self.folder / name).write_text(content)
        before, self._files = self._files, [*self._files, "--file", "docker-compose.override.yml"]
        try:
            yield
        finally:
            self._files = before
            for name in files:
                (self.folder / name).unlink()

    def configuration(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.compose("config", "--format", "json"))
        return content

    def build(self) -> None:
        self.compose("build", timeout=BUILD_S)

    def up(self, services: list[str], **environment: str) -> None:
        """Bring them up, and wait until they are healthy."""
        self.compose("up", "--detach", "--no-build", "--wait", *services, timeout=600, **environment)

    def down(self, *options: str) -> None:
        self.compose("--profile", "*", "down", "--timeout", "20", *options, timeout=300)

    def remove(self) -> None:
        """Leave nothing but the images, which make the next run quicker."""
        self.down("--volumes", "--remove-orphans")

    # -- containers ---------------------------------------------------------------------------------------------------

    def containers(self) -> dict[str, dict[str, Any]]:
        """Service → what the engine says about its container."""
        ids = self.compose("ps", "--all", "--quiet").split()
        inspected = json.loads(run("docker", "inspect", *ids).stdout) if ids else []
        return {container["Config"]["Labels"]["com.docker.compose.service"]: container for container in inspected}

    def state(self, service: str) -> dict[str, Any]:
        state: dict[str, Any] = self.containers()[service]["State"]
        return state

    def inside(self, service: str, *command: str, user: str = "", check: bool = True, **environment: str) -> str:
        """Run a command in the container of a service; its output."""
        who = ["--user", user] if user else []
        variables = [part for name, value in environment.items() for part in ("--env", f"{name}={value}")]
        return self.compose("exec", "--no-TTY", *who, *variables, service, *command, check=check)

    def kill(self, service: str) -> None:
        """Kill every process in the container at once, as a crash does; wait until the engine has started it again.

        Not `docker kill`: that is an order, after which `unless-stopped` does not start it again.
        """
        before = self.containers()[service]["RestartCount"]
        if service == "database":  # its first process is no init that ends with the others: the crash that it knows
            self.inside(service, "sh", "-c", "kill -QUIT 1", user="postgres", check=False)
        else:
            self.inside(service, "sh", "-c", "kill -9 -1", check=False)
        self.until(lambda: self.containers()[service]["RestartCount"] > before, f"{service} is started again")

    def healthy(self, service: str) -> bool:
        return bool(self.state(service)["Running"]) and self.state(service)["Health"]["Status"] == "healthy"

    def until(self, holds: Callable[[], bool], what: str, within: float = SOON_S) -> None:
        """Wait for an effect in the containers."""
        end = time.monotonic() + within
        while not holds():
            if time.monotonic() > end:
                raise AssertionError(f"not within {within:g} s: {what}\n{self.compose('logs', '--tail', '40')}")
            time.sleep(0.2)

    # -- what is in them ----------------------------------------------------------------------------------------------

    def credentials(self, user: str = "") -> str:
        """What `setup show` prints."""
        return self.compose("run", "--rm", "--no-TTY", "setup", "show", *([user] if user else []))

    def database(self, order: str, given: bytes = b"") -> bytes:
        """`docker compose run database-setup backup`, or restore: bytes in, bytes out."""
        command = ["docker", "compose", *self._files, "run", "--rm", "--no-TTY", "database-setup", order]
        done = subprocess.run(
            command,
            input=given,
            capture_output=True,
            timeout=SOON_S,
            check=False,
            cwd=self.folder,
            env=self._environment,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def mqtt_password(self, user: str) -> str:
        [line] = [line for line in self.credentials(user).splitlines() if line.startswith("MQTT_PASSWORD=")]
        return line.partition("=")[2]

    def sql(self, query: str, role: str = "wattbus_reader", check: bool = True) -> list[list[str]]:
        """Ask the database as a role: rows of texts."""
        place = {"wattbus_reader": "reader_password", "wattbus": "password", "postgres": "superuser_password"}[role]
        ask = f'PGPASSWORD=$(cat /run/secrets/database/{place}) exec psql -X -A -t -F "$SEPARATOR" "$@"'
        output = self.inside(
            "database", "sh", "-c", ask, "psql", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", role,
            "-d", "wattbus", "-c", query, SEPARATOR="\x1f", check=check,
        )  # fmt: skip
        return [line.split("\x1f") for line in output.splitlines()]
