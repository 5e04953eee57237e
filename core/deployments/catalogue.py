"""The deployments that exist, and the targets behind each.

A *deployment* is the name that callers use. A *target* is a deployment of one Azure OpenAI resource that can
draw for it. Callers never choose a host: every endpoint comes from the operator's settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from core.deployments.families import FAMILIES, Family, find_family

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.deployments.prices import Price
    from core.domain.secret import Secret


class Target(Struct, frozen=True, kw_only=True):
    """One deployment of one Azure OpenAI resource."""

    name: str
    """For logs: the deployment's name and which of its targets this is. No host."""
    endpoint: str
    """`https://HOST`, without a trailing slash."""
    deployment: str
    """The deployment's name in that resource."""
    default_api_version: str
    own_api_version: str | None = None
    """The version that the catalogue names for this target; the caller's never replaces it."""
    key: Secret | None = None
    """The resource's key; `None`: a Microsoft Entra token of the app's managed identity."""
    priority: int = 1
    """Lower is asked first."""
    weight: int = 1
    """The share of calls among targets of the same priority."""

    @property
    def identity(self) -> tuple[str, str]:
        """What makes two targets the same: they would draw, and bill, in the same place."""
        return self.endpoint.lower(), self.deployment.lower()

    def api_version(self, asked: str | None) -> str:
        """Choose the version to call with, given the dated version that the caller asked for, if any."""
        return self.own_api_version or asked or self.default_api_version


class Overrides(Struct, frozen=True, kw_only=True):
    """What the catalogue changes in the requests for a deployment, so that old clients work."""

    response_format: str | None = None
    """`url` or `b64_json`: what is given where nobody asks."""
    sizes: Mapping[str, str] = field(default_factory=dict)
    """Sizes that are asked for, and those that are sent in their place."""
    drop: frozenset[str] = frozenset()
    """Fields that are left out."""


class Deployment(Struct, frozen=True, kw_only=True):
    """A name that callers use, and what draws for it."""

    name: str
    family: Family | None
    targets: tuple[Target, ...]
    own_price: Price | None = None
    """What the catalogue says that it costs; it goes before the family's list price."""
    overrides: Overrides = field(default_factory=Overrides)

    @property
    def price(self) -> Price | None:
        """What a picture costs; None: nobody knows."""
        if self.own_price is not None or self.family is None:
            return self.own_price
        return self.family.price


class Catalogue(Struct, frozen=True, kw_only=True):
    """What there is to call."""

    listed: Mapping[str, Deployment] | None
    """The catalogue of the settings. `None`: no catalogue, so any name is a deployment of `default`."""
    default: Target | None = None
    """With no catalogue: the resource in which every name is looked for. Its `deployment` is empty."""
    families: Mapping[str, Family] = field(default_factory=lambda: FAMILIES)
    """With no catalogue: the family of a deployment that is named like a model."""

    def targets(self) -> tuple[Target, ...]:
        """Every target there is."""
        if self.listed is not None:
            return tuple(target for deployment in self.listed.values() for target in deployment.targets)
        return () if self.default is None else (self.default,)

    def find(self, name: str) -> Deployment | None:
        """Look up a deployment by the name that the caller used."""
        if self.listed is not None:
            return self.listed.get(name)
        if self.default is None:
            return None
        target = Target(
            name=name,
            endpoint=self.default.endpoint,
            deployment=name,
            default_api_version=self.default.default_api_version,
            key=self.default.key,
        )
        return Deployment(name=name, family=find_family(name, self.families), targets=(target,))
