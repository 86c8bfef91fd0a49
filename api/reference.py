"""The OpenAPI document as a page that needs nothing from the internet: a building may not have it."""

from __future__ import annotations

from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
summary { cursor: pointer; padding: .4rem 0; } code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
pre { overflow-x: auto; border: 1px solid #8886; border-radius: 6px; padding: .6rem; }
.method { display: inline-block; min-width: 4.5rem; font-weight: 600; } td { padding: .15rem .8rem .15rem 0; }
details { border-bottom: 1px solid #8884; } h2 { margin-top: 2rem; }
"""


def page(document: dict[str, Any]) -> str:
    """HTML with every operation: what it does, what it takes, what it answers."""
    info = document["info"]
    operations = "".join(
        _operation(path, method, operation, document)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(info["title"])} REST</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body>'
        f"<h1>{escape(info['title'])} {escape(info['version'])}: REST</h1><p>{escape(info.get('description', ''))}</p>"
        f'<p>For programs: <a href="/openapi.json">openapi.json</a>.</p>{operations}</body></html>'
    )


def _operation(path: str, method: str, operation: dict[str, Any], document: dict[str, Any]) -> str:
    told = operation.get("description") or operation.get("summary", "")
    parts = [f"<p>{escape(told)}</p>", _parameters(operation), _body(operation, document), _answers(operation)]
    return (
        f'<details><summary><span class="method">{method.upper()}</span><code>{escape(path)}</code> '
        f"{escape(operation.get('summary', ''))}</summary>{''.join(parts)}</details>"
    )


def _parameters(operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(given['name'])}</code></td><td>{escape(given['in'])}"
        f"{', required' if given.get('required') else ''}</td><td>{escape(given.get('description', ''))}</td></tr>"
        for given in operation.get("parameters", ())
    )
    return f"<table>{rows}</table>" if rows else ""


def _body(operation: dict[str, Any], document: dict[str, Any]) -> str:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if not content:
        return ""
    return f"<p>Body, JSON:</p><pre>{escape(_shape(content.get('schema', {}), document, 0))}</pre>"


def _answers(operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(code)}</code></td><td>{escape(answer.get('description', ''))}</td></tr>"
        for code, answer in operation.get("responses", {}).items()
    )
    return f"<table>{rows}</table>"


def _shape(schema: dict[str, Any], document: dict[str, Any], depth: int) -> str:
    """A schema as people write JSON: `{"value": …, "timestamp": integer}`."""
    if "$ref" in schema:
        schema = document["components"]["schemas"].get(schema["$ref"].rsplit("/", 1)[-1], {})
    if depth > 6:
        return "…"
    if "properties" in schema:
        indent = "  " * (depth + 1)
        members = (f'{indent}"{name}": {_shape(of, document, depth + 1)}' for name, of in schema["properties"].items())
        return "{\n" + ",\n".join(members) + "\n" + "  " * depth + "}"
    if schema.get("type") == "array":
        return f"[{_shape(schema.get('items', {}), document, depth)}, …]"
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        return " or ".join(_shape(choice, document, depth) for choice in choices)
    kind = schema.get("type", "any JSON")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)
