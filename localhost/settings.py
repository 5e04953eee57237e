"""What the host reads before it starts: host.json, local.settings.json, and what is wrong with them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


class StartError(Exception):
    """The host cannot start, and the message says why."""


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file, `{}` if there is no such file."""
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise StartError(f"{path.name} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise StartError(f"{path.name} is not a JSON object")
    return content


def apply_local_settings(directory: Path) -> None:
    """Put the `Values` of local.settings.json into the environment, where they are not set already."""
    for name, value in read_json(directory / "local.settings.json").get("Values", {}).items():
        os.environ.setdefault(name, value if isinstance(value, str) else json.dumps(value))


def route_prefix(directory: Path) -> str:
    """Read what stands before every route (host.json, `extensions.http.routePrefix`)."""
    http = read_json(directory / "host.json").get("extensions", {}).get("http", {})
    return str(http.get("routePrefix", "api"))
