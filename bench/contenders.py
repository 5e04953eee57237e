"""Who is measured: the upstream itself, this gateway, and its peers. How each is started, and how it is asked.

Each takes a virtual key or master key from its caller, knows the upstream's key itself, and reaches it on loopback
only; telemetry and look-ups elsewhere are switched off.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench import installing
from bench.processes import ROOT, clean_environment
from bench.upstream import HOSTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.canned import Kind

API_VERSION: Final = "2025-04-01-preview"
PROMPT: Final = "A lighthouse at dawn, in watercolours, with a red boat in front of it"
UPSTREAM_KEY: Final = "key-of-the-resource"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How a contender is started."""

    command: Sequence[str | Path]
    env: Mapping[str, str]
    cwd: Path = ROOT


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """How a contender is asked for pictures."""

    path: str
    headers: dict[str, str]
    body: str


def _body(fields: Mapping[str, object], *, images: int, partials: int | None) -> str:
    """The JSON of a request; with `partials`, for a stream."""
    more = {"n": images} if images > 1 else {}
    stream = {} if partials is None else {"stream": True, "partial_images": partials}
    return json.dumps({**fields, "prompt": PROMPT, "size": "1024x1024", "quality": "medium", **more, **stream})


class Contender(ABC):
    """One that is measured."""

    name: str
    title: str

    @abstractmethod
    def start(self, port: int, upstream: int, kinds: Sequence[Kind]) -> Start | None:
        """How to start it on `port`, in front of the upstream's port; None: there is nothing to start."""

    @abstractmethod
    def ask(self, kind: Kind, *, images: int = 1, partials: int | None = None) -> Ask:
        """How to ask it; with `partials`, for a stream with so many partial images."""

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """What it is made of."""


class Direct(Contender):
    """No gateway: the load generator asks the upstream, as an SDK asks Azure. Shows what these two can do alone."""

    name = "direct"
    title = "direct"

    def start(self, port: int, upstream: int, kinds: Sequence[Kind]) -> None:
        """There is nothing to start."""

    def ask(self, kind: Kind, *, images: int = 1, partials: int | None = None) -> Ask:
        """As the official SDKs do."""
        return Ask(
            path=f"/openai/deployments/{kind.deployment}/images/generations?api-version={API_VERSION}",
            headers={"api-key": UPSTREAM_KEY},
            body=_body({"model": kind.deployment}, images=images, partials=partials),
        )

    def versions(self) -> dict[str, str]:
        """Nothing but this Python's standard library."""
        return {}


class Gateway(Contender):
    """This gateway, by `make serve`, with the packages of requirements.txt and nothing else beside it."""

    name = "gateway"
    title = "this gateway"
    KEY: Final = "sk-bf-" + hashlib.sha256(b"bench").hexdigest()
    OTHER_KEYS: Final = 49

    def start(self, port: int, upstream: int, kinds: Sequence[Kind]) -> Start:
        """With a catalogue, families and keys as in production."""
        python = installing.GATEWAY / "bin" / "python"
        return Start(
            # -o: what a developer's own .venv lacks is nothing to be installed into this one.
            command=["make", "-s", "-o", ".venv/.local", "serve", f"PORT={port}", f"PYTHON={python}"],
            env=clean_environment(self.settings(upstream, kinds)),
        )

    @classmethod
    def settings(cls, upstream: int, kinds: Sequence[Kind]) -> dict[str, str]:
        """Every deployment has three targets in three resources, each with a key of its own."""
        endpoints = [f"http://{host}:{upstream}" for host in HOSTS]
        deployments = {kind.deployment: _entry(kind.deployment, endpoints) for kind in kinds}
        for name in ("gpt-image-2", "gpt-image-1.5", "gpt-image-1-mini", "flux-1.1-pro"):
            deployments[name] = _entry(name, endpoints, family=name)
        keys = [
            {
                "id": f"team-{number}",
                "name": f"Team {number}",
                "key_sha256": hashlib.sha256(key.encode()).hexdigest(),
                "deployments": ["*"] if key == cls.KEY else ["gpt-image-2"],
                "expires_at": "2099-01-01T00:00:00Z",
            }
            for number, key in enumerate([cls.KEY, *(f"sk-bf-{number}" for number in range(cls.OTHER_KEYS))])
        ]
        return {
            "AZURE_OPENAI_API_VERSION": API_VERSION,
            "GATEWAY_CATALOGUE": json.dumps({"deployments": deployments}),
            "GATEWAY_VIRTUAL_KEYS": json.dumps(keys),
            **{f"KEY_{number}": UPSTREAM_KEY for number in range(len(endpoints))},
        }

    def ask(self, kind: Kind, *, images: int = 1, partials: int | None = None) -> Ask:
        """As an SDK does whose endpoint is the gateway's."""
        return Ask(
            path=f"/openai/openai/deployments/{kind.deployment}/images/generations?api-version={API_VERSION}",
            headers={"authorization": f"Bearer {self.KEY}"},
            body=_body({"model": kind.deployment}, images=images, partials=partials),
        )

    def versions(self) -> dict[str, str]:
        """Its Python, and the packages that its figures depend on."""
        return installing.python_packages(installing.GATEWAY)


def _entry(name: str, endpoints: Sequence[str], family: str = "gpt-image-1") -> dict[str, object]:
    """A deployment of the catalogue: two resources share the load, the third stands by."""
    targets = [
        {"endpoint": endpoint, "deployment": name, "api_key": f"env:KEY_{number}", "priority": priority}
        for number, (endpoint, priority) in enumerate(zip(endpoints, (1, 1, 2), strict=True))
    ]
    return {"family": family, "targets": targets}


class LiteLLM(Contender):
    """LiteLLM's proxy: one worker, no database, no telemetry, its cost map from the package."""

    name = "litellm"
    title = "LiteLLM"
    KEY: Final = "sk-bench"
    CONFIG: Final = installing.LITELLM / "bench.json"

    def start(self, port: int, upstream: int, kinds: Sequence[Kind]) -> Start:
        """With its configuration in a file. That is YAML, which JSON is, too."""
        base = f"http://{HOSTS[0]}:{upstream}"
        self.CONFIG.write_text(json.dumps(self.settings(base, kinds)))
        address = ["--host", "127.0.0.1", "--port", str(port)]
        return Start(
            command=[installing.LITELLM / "bin" / "litellm", "--config", self.CONFIG, *address, "--num_workers", "1"],
            env=clean_environment(
                {
                    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                    "LITELLM_MODE": "PRODUCTION",
                    "LITELLM_LOG": "ERROR",
                    "AZURE_API_BASE": base,
                    "AZURE_API_KEY": UPSTREAM_KEY,
                }
            ),
        )

    @classmethod
    def settings(cls, base: str, kinds: Sequence[Kind]) -> dict[str, object]:
        """One Azure model for each deployment, on the resource at `base`."""
        parameters = {"api_base": base, "api_key": UPSTREAM_KEY, "api_version": API_VERSION}
        models = [
            {"model_name": kind.deployment, "litellm_params": {"model": f"azure/{kind.deployment}", **parameters}}
            for kind in kinds
        ]
        return {
            "model_list": models,
            "litellm_settings": {"telemetry": False},
            "general_settings": {"master_key": cls.KEY},
        }

    def ask(self, kind: Kind, *, images: int = 1, partials: int | None = None) -> Ask:
        """On its own image endpoint; streams, which that cannot, on its raw route to Azure."""
        root = "" if partials is None else "/azure"
        return Ask(
            path=f"{root}/openai/deployments/{kind.deployment}/images/generations?api-version={API_VERSION}",
            headers={"authorization": f"Bearer {self.KEY}"},
            body=_body({"model": kind.deployment}, images=images, partials=partials),
        )

    def versions(self) -> dict[str, str]:
        """Its Python, and the packages that its figures depend on."""
        return installing.python_packages(installing.LITELLM)


class Portkey(Contender):
    """Portkey's gateway on Node. Where a call goes, and with which key, its callers say in headers."""

    name = "portkey"
    title = "Portkey"

    def __init__(self) -> None:
        self._upstream = 0

    def start(self, port: int, upstream: int, kinds: Sequence[Kind]) -> Start:  # noqa: ARG002 -- Contender's signature
        """Without its console. A custom host on loopback is trusted by itself."""
        self._upstream = upstream
        script = installing.PORTKEY / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
        return Start(
            command=["node", script, f"--port={port}", "--headless"],
            env=clean_environment({"NODE_ENV": "production"}),
            cwd=installing.PORTKEY,
        )

    def ask(self, kind: Kind, *, images: int = 1, partials: int | None = None) -> Ask:
        """On its own image endpoint; streams, which that cannot, on its raw route."""
        raw = f"/v1/proxy/deployments/{kind.deployment}/images/generations?api-version={API_VERSION}"
        return Ask(
            path="/v1/images/generations" if partials is None else raw,
            headers={
                "authorization": f"Bearer {UPSTREAM_KEY}",
                "x-portkey-provider": "azure-openai",
                "x-portkey-azure-resource-name": "bench",
                "x-portkey-azure-deployment-id": kind.deployment,
                "x-portkey-azure-api-version": API_VERSION,
                "x-portkey-custom-host": f"http://{HOSTS[0]}:{self._upstream}/openai",
            },
            body=_body({"model": "gpt-image-1"}, images=images, partials=partials),
        )

    def versions(self) -> dict[str, str]:
        """Node, and the packages that its figures depend on."""
        return installing.node_packages(installing.PORTKEY)


CONTENDERS: Final[tuple[Contender, ...]] = (Direct(), Gateway(), LiteLLM(), Portkey())
"""In the order in which a round measures them."""
