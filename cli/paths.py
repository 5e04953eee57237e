"""The paths of the gateway's API."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

KEYS: Final = "/api/governance/virtual-keys"
USAGE: Final = "/api/governance/usage"


def key_path(key_id: str, *more: str) -> str:
    """The path of one key, or of something of it."""
    return "/".join((KEYS, quote(key_id, safe=""), *more))


def images_path(deployment: str) -> str:
    """The path at which a deployment draws."""
    return f"/openai/openai/deployments/{quote(deployment, safe='')}/images/generations"


def job_path(job_id: str) -> str:
    """The path of one job."""
    return f"/jobs/{quote(job_id, safe='')}"
