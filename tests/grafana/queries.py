"""The queries of the dashboards, and what Grafana makes of them before it sends them to the database.

Grafana replaces variables in the browser (docs: "Variable syntax", advanced formatting: `${name:sqlstring}` quotes each
value, `${name:csv}` puts commas between them; global variables: `${__from}`, `${__to}` in ms, `$__interval_ms`). The
dashboards use these and no macro of the PostgreSQL source, so that nothing of Grafana's has to be imitated but that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DASHBOARDS = Path(__file__).parents[2] / "grafana" / "dashboards"
FORMATS = {
    "sqlstring": lambda values: ",".join("'" + str(value).replace("'", "''") + "'" for value in values),
    "csv": lambda values: ",".join(map(str, values)),
}
REFERENCE = re.compile(r"\$\{(\w+):(\w+)\}")


@dataclass(frozen=True)
class Query:
    """A query of a panel or of a variable."""

    dashboard: str
    name: str
    text: str
    form: str  # table, time_series, variable
    panel: str = ""

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.name}"


def dashboards() -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(DASHBOARDS.glob("*.json"))}


def panel_queries() -> list[Query]:
    return [
        Query(name, f"{panel['title']} {target['refId']}", target["rawSql"], target["format"], panel["type"])
        for name, board in dashboards().items()
        for panel in board["panels"]
        for target in panel["targets"]
    ]


def variable_queries() -> list[Query]:
    return [
        Query(name, variable["name"], variable["query"], "variable")
        for name, board in dashboards().items()
        for variable in board["templating"]["list"]
    ]


def interpolated(
    text: str, values: Mapping[str, Sequence[object]], from_ms: int, to_ms: int, interval_ms: int = 1000
) -> str:
    """What reaches the database. Raises KeyError for a variable or a format that there is not."""
    text = text.replace("${__from}", str(from_ms)).replace("${__to}", str(to_ms))
    text = text.replace("$__interval_ms", str(interval_ms))
    text = REFERENCE.sub(lambda found: FORMATS[found[2]](values[found[1]]), text)
    if "$" in text:
        raise KeyError(f"Grafana would have to replace more: {text}")
    return text


def references(text: str) -> Iterator[str]:
    """The variables that a query names."""
    for found in REFERENCE.finditer(text):
        yield found[1]
