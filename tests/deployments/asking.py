"""Requests and catalogues for the tests of this room."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from core.deployments.catalogue import Catalogue, Deployment, Target
from core.domain.request import ImageRequest, parse_request

if TYPE_CHECKING:
    from core.deployments.families import Family


def asked(**fields: Any) -> ImageRequest:
    """A request with these fields; `model` and `prompt` are filled in."""
    return parse_request(json.dumps({"model": "m", "prompt": "p", **fields}).encode(), "d")


def target(name: str, number: int = 1) -> Target:
    """A target of a resource that is told apart by its name."""
    return Target(
        name=f"{name}#{number}",
        endpoint=f"https://{name.lower()}-{number}.openai.azure.com",
        deployment=f"{name}-there",
        default_api_version="2025-04-01-preview",
    )


def deployment(name: str, family: Family | None = None) -> Deployment:
    """A deployment with one target."""
    return Deployment(name=name, family=family, targets=(target(name),))


def catalogue(*deployments: Deployment) -> Catalogue:
    """A catalogue that lists these."""
    return Catalogue(listed={each.name: each for each in deployments})


def open_catalogue() -> Catalogue:
    """No catalogue: every name is looked for in one resource."""
    return Catalogue(
        listed=None,
        default=Target(
            name="#1",
            endpoint="https://one.openai.azure.com",
            deployment="",
            default_api_version="2025-04-01-preview",
        ),
    )
