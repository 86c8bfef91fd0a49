"""The bill of materials of an image, as CycloneDX 1.6 (ECMA-424) in JSON: what is installed in it, in which version.

    python materials.py SERVICE [FOLDER…]      # prints it

It lists the Python packages in these folders (without any: those that this Python finds, and those of the Python that
its environment is made of), this Python, and the packages of a Debian base image.

Runs while an image is built: standard library only. The same packages give the same text: its number is made from
what it lists, and SOURCE_DATE_EPOCH (seconds), if set, is its time.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import sysconfig
import time
import uuid
from collections.abc import Iterable, Iterator
from email.message import Message
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

Component = dict[str, Any]
DEBIAN_PACKAGES = Path("/var/lib/dpkg/status")
OS_RELEASE = Path("/etc/os-release")
OURS = "wattbus"
SPACE = uuid.UUID("6f0b8a4e-2f0e-5d0c-9a55-1a1d9d8f2c11")  # of the numbers of our bills
SPDX_EXPRESSION = re.compile(r"\(*[A-Za-z0-9][A-Za-z0-9.+-]*\)*(?: (?:AND|OR|WITH) \(*[A-Za-z0-9.+-]+\)*)*")


def bill(service: str, folders: Iterable[str], debian: Path = DEBIAN_PACKAGES, release: Path = OS_RELEASE) -> Component:
    """The whole document."""
    installed: dict[str, Distribution] = {}
    for found in distributions(path=list(folders) or _everywhere()):
        installed.setdefault(_reference(found), found)
    found_first: dict[str, str] = {}  # as an import takes the first, where a package is there twice
    for reference, found in installed.items():
        found_first.setdefault(normal(found.name), reference)
    components = [_python_package(found) for _, found in sorted(installed.items())]
    components += [_interpreter(), *_debian_packages(debian, release)]
    subject = {"type": "container", "bom-ref": f"image:{service}", "name": f"{OURS}/{service}"}
    if OURS in found_first:
        subject["version"] = installed[found_first[OURS]].version
    needs = [{"ref": subject["bom-ref"], "dependsOn": sorted(part["bom-ref"] for part in components)}]
    for reference, found in sorted(installed.items()):
        wanted = {found_first[name] for name in _requirements(found) if name in found_first}
        needs.append({"ref": reference, "dependsOn": sorted(wanted - {reference})})
    listed = json.dumps([subject, components], sort_keys=True)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(SPACE, listed)}",
        "version": 1,
        "metadata": {
            "timestamp": _moment(),
            "lifecycles": [{"phase": "build"}],
            "tools": {"components": [{"type": "application", "name": "containers/materials.py", "group": OURS}]},
            "component": subject,
        },
        "components": components,
        "dependencies": needs,
    }


def normal(name: str) -> str:
    """A package's name as the index has it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _moment() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())))


def _everywhere() -> list[str]:
    beneath = {"base": sys.base_prefix, "platbase": sys.base_prefix}  # what an environment hides is in the image, too
    return [*sys.path, *(sysconfig.get_path(kind, vars=beneath) for kind in ("purelib", "platlib"))]


def _reference(found: Distribution) -> str:
    return f"pkg:pypi/{normal(found.name)}@{quote(found.version)}"


def _python_package(found: Distribution) -> Component:
    name, reference = normal(found.name), _reference(found)
    described: Message = found.metadata  # type: ignore[assignment]  # a Message, whatever its protocol promises
    component: Component = {
        "type": "application" if name == OURS else "library",
        "bom-ref": reference,
        "name": name,
        "version": found.version,
        "purl": reference,
    }
    if summary := described["Summary"]:
        component["description"] = summary
    if licences := _licences(described):
        component["licenses"] = licences
    return component


def _licences(described: Message) -> list[Component]:
    """An SPDX expression where the package gives one (PEP 639), else the names that it has in its metadata."""
    if (expression := described["License-Expression"]) and SPDX_EXPRESSION.fullmatch(expression):
        return [{"expression": expression}]
    classifiers = [text for text in described.get_all("Classifier") or [] if text.startswith("License :: ")]
    names = [text.rpartition(" :: ")[2] for text in classifiers if text != "License :: OSI Approved"]
    if not names and (text := (described["License"] or "").strip()) and "\n" not in text and len(text) < 100:
        names = [text]  # some put the whole text of the licence there
    return [{"license": {"name": name}} for name in names]


def _requirements(found: Distribution) -> Iterator[str]:
    """The names that a package requires. Those of its extras, too: whether they are there is seen from what is."""
    for requirement in found.requires or []:
        if match := re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", requirement):
            yield normal(match[0])


def _interpreter() -> Component:
    version = platform.python_version()
    reference = f"pkg:generic/python@{quote(version)}"
    return {"type": "platform", "bom-ref": reference, "name": "python", "version": version, "purl": reference}


def _debian_packages(status: Path, release: Path) -> Iterator[Component]:
    """The packages of the base image, where it is a Debian (or its like)."""
    if not status.is_file():
        return
    system = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', release.read_text(), re.MULTILINE) if release.is_file() else ())
    distribution = system.get("ID", "debian")
    for paragraph in status.read_text(encoding="utf-8").split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", paragraph, re.MULTILINE))
        if not fields.get("Status", "").endswith(" installed"):
            continue
        name, version, machine = fields["Package"], fields["Version"], fields["Architecture"]
        reference = f"pkg:deb/{distribution}/{quote(name, safe='')}@{quote(version, safe='')}?arch={machine}"
        if "VERSION_ID" in system:
            reference += f"&distro={distribution}-{quote(system['VERSION_ID'])}"
        yield {"type": "library", "bom-ref": reference, "name": name, "version": version, "purl": reference}


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    json.dump(bill(sys.argv[1], sys.argv[2:]), sys.stdout, indent=1)
    sys.stdout.write("\n")
