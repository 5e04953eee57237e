"""What is measured: this gateway, its peers, and no gateway at all. How each is started, and how it is asked.

Each takes a virtual key or master key from its caller, knows the upstream's key itself, and reaches it on loopback
only; telemetry and look-ups elsewhere are switched off.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from bench import install
from bench.processes import ROOT, make_environment
from bench.upstream import HOSTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from bench.answers import AnswerKind

API_VERSION: Final = "2025-04-01-preview"
PROMPT: Final = "A lighthouse at dawn, in watercolours, with a red boat in front of it"
UPSTREAM_KEY: Final = "key-of-the-resource"
KEY: Final = "sk-bf-" + hashlib.sha256(b"bench").hexdigest()
"""The virtual key, or master key, of the callers."""
OTHER_KEYS: Final = 49


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How a gateway is started."""

    command: Sequence[str | Path]
    env: Mapping[str, str]
    cwd: Path = ROOT


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """How a gateway is asked for images."""

    path: str
    headers: dict[str, str]
    body: str


class Gateway(ABC):
    """One that is measured."""

    name: str
    title: str
    prefix = ""
    """What stands before Azure's path."""
    stream_prefix = ""
    """The same for a stream."""

    @abstractmethod
    def prepare_start(self, port: int, upstream: int, kinds: Sequence[AnswerKind]) -> Start | None:
        """How to start it on `port`, in front of the upstream's port; None: there is nothing to start."""

    def make_headers(self, kind: AnswerKind) -> dict[str, str]:  # noqa: ARG002 -- Portkey is told the deployment so
        """The headers of a request."""
        return {"authorization": f"Bearer {KEY}"}

    def make_request(self, kind: AnswerKind, *, images: int = 1, partials: int | None = None) -> Request:
        """How to ask it, as an SDK does; with `partials`, for a stream with so many partial images."""
        more = {"n": images} if images > 1 else {}
        stream = {} if partials is None else {"stream": True, "partial_images": partials}
        fields = {"model": kind.deployment, "prompt": PROMPT, "size": "1024x1024", "quality": "medium"}
        prefix = self.prefix if partials is None else self.stream_prefix
        return Request(
            path=f"{prefix}/deployments/{kind.deployment}/images/generations?api-version={API_VERSION}",
            headers=self.make_headers(kind),
            body=json.dumps({**fields, **more, **stream}),
        )

    def install(self) -> dict[str, str]:
        """Install it where it is not installed; give the versions of what it is made of. Raises NotInstalled."""
        return {}


class Direct(Gateway):
    """No gateway: the load generator asks the upstream, as an SDK asks Azure. Shows what these two can do alone."""

    name = "direct"
    title = "direct"
    prefix = stream_prefix = "/openai"

    def prepare_start(self, port: int, upstream: int, kinds: Sequence[AnswerKind]) -> None:
        """There is nothing to start."""

    def make_headers(self, kind: AnswerKind) -> dict[str, str]:  # noqa: ARG002 -- Gateway's signature
        """Azure's key."""
        return {"api-key": UPSTREAM_KEY}


class ThisGateway(Gateway):
    """This gateway, by `make serve`, with the packages of requirements.txt and nothing else beside it."""

    prefix = stream_prefix = "/openai/openai"

    def __init__(
        self,
        name: str = "gateway",
        title: str = "this gateway",
        root: Path = ROOT,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """`root`: the checkout that is started; `settings`: added to those that all checkouts get."""
        self.name = name
        self.title = title
        self.root = root
        self._settings = settings or {}

    def prepare_start(self, port: int, upstream: int, kinds: Sequence[AnswerKind]) -> Start:
        """With a catalogue, families and keys as in production."""
        return Start(
            # -o: what a developer's own .venv lacks is nothing to be installed into this one.
            command=["make", "-s", "-o", ".venv/.local", "serve", f"PORT={port}", f"PYTHON={install.GATEWAY_PYTHON}"],
            env=make_environment({**make_settings(upstream, kinds), **self._settings}),
            cwd=self.root,
        )

    def install(self) -> dict[str, str]:
        """The packages of this checkout's requirements.txt, for the other checkout, too."""
        return install.install_gateway()


def make_settings(upstream: int, kinds: Sequence[AnswerKind]) -> dict[str, str]:
    """Every deployment has three targets in three resources, each with a key of its own; 50 virtual keys."""
    endpoints = [f"http://{host}:{upstream}" for host in HOSTS]
    deployments = {kind.deployment: _make_deployment(kind.deployment, "gpt-image-1", endpoints) for kind in kinds}
    for name in ("gpt-image-2", "gpt-image-1.5", "gpt-image-1-mini", "flux-1.1-pro"):
        deployments[name] = _make_deployment(name, name, endpoints)
    keys = [
        {
            "id": f"team-{number}",
            "name": f"Team {number}",
            "key_sha256": hashlib.sha256(key.encode()).hexdigest(),
            "deployments": ["*"] if number == 0 else ["gpt-image-2"],
            "expires_at": "2099-01-01T00:00:00Z",
        }
        for number, key in enumerate([KEY, *(f"sk-bf-{each}" for each in range(OTHER_KEYS))])
    ]
    return {
        "AZURE_OPENAI_API_VERSION": API_VERSION,
        "GATEWAY_CATALOGUE": json.dumps({"deployments": deployments}),
        "GATEWAY_VIRTUAL_KEYS": json.dumps(keys),
        **{f"KEY_{number}": UPSTREAM_KEY for number in range(len(endpoints))},
    }


def _make_deployment(name: str, family: str, endpoints: Sequence[str]) -> dict[str, object]:
    """Two resources share the load, the third stands by."""
    targets = [
        {"endpoint": endpoint, "deployment": name, "api_key": f"env:KEY_{number}", "priority": priority}
        for number, (endpoint, priority) in enumerate(zip(endpoints, (1, 1, 2), strict=True))
    ]
    return {"family": family, "targets": targets}


class LiteLLM(Gateway):
    """LiteLLM's proxy: one worker, no database, no telemetry, its cost map from the package.

    Its own image endpoint cannot stream: streams take its raw route to Azure.
    """

    name = "litellm"
    title = "LiteLLM"
    prefix = "/openai"
    stream_prefix = "/azure/openai"
    CONFIG: Final = install.LITELLM / "bench.json"

    def prepare_start(self, port: int, upstream: int, kinds: Sequence[AnswerKind]) -> Start:
        """With its configuration in a file. That is YAML, which JSON is, too."""
        base = f"http://{HOSTS[0]}:{upstream}"
        self.CONFIG.write_text(json.dumps(self.make_config(base, kinds)))
        address = ["--host", "127.0.0.1", "--port", str(port)]
        return Start(
            command=[install.LITELLM / "bin" / "litellm", "--config", self.CONFIG, *address, "--num_workers", "1"],
            env=make_environment(
                {
                    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                    "LITELLM_MODE": "PRODUCTION",
                    "LITELLM_LOG": "ERROR",
                    "AZURE_API_BASE": base,
                    "AZURE_API_KEY": UPSTREAM_KEY,
                }
            ),
        )

    def make_config(self, base: str, kinds: Sequence[AnswerKind]) -> dict[str, object]:
        """One Azure model for each deployment, on the resource at `base`."""
        parameters = {"api_base": base, "api_key": UPSTREAM_KEY, "api_version": API_VERSION}
        models = [
            {"model_name": kind.deployment, "litellm_params": {"model": f"azure/{kind.deployment}", **parameters}}
            for kind in kinds
        ]
        return {
            "model_list": models,
            "litellm_settings": {"telemetry": False},
            "general_settings": {"master_key": KEY},
        }

    def install(self) -> dict[str, str]:
        """LiteLLM with what its proxy needs."""
        return install.install_litellm()


class Portkey(Gateway):
    """Portkey's gateway on Node. Where a call goes, and with which key, its callers say in headers.

    Its own image endpoint cannot stream: streams take its raw route.
    """

    name = "portkey"
    title = "Portkey"
    stream_prefix = "/v1/proxy"

    def __init__(self) -> None:
        self._upstream = 0

    def prepare_start(self, port: int, upstream: int, kinds: Sequence[AnswerKind]) -> Start:  # noqa: ARG002 -- as above
        """Without its console. A custom host on loopback is trusted by itself."""
        self._upstream = upstream
        script = install.PORTKEY / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
        return Start(
            command=["node", script, f"--port={port}", "--headless"],
            env=make_environment({"NODE_ENV": "production"}),
            cwd=install.PORTKEY,
        )

    def make_headers(self, kind: AnswerKind) -> dict[str, str]:
        """The upstream's key, and where it is."""
        return {
            "authorization": f"Bearer {UPSTREAM_KEY}",
            "x-portkey-provider": "azure-openai",
            "x-portkey-azure-resource-name": "bench",
            "x-portkey-azure-deployment-id": kind.deployment,
            "x-portkey-azure-api-version": API_VERSION,
            "x-portkey-custom-host": f"http://{HOSTS[0]}:{self._upstream}/openai",
        }

    def make_request(self, kind: AnswerKind, *, images: int = 1, partials: int | None = None) -> Request:
        """On OpenAI's path, unless it is a stream."""
        request = super().make_request(kind, images=images, partials=partials)
        return request if partials is not None else replace(request, path="/v1/images/generations")

    def install(self) -> dict[str, str]:
        """Its package for Node."""
        return install.install_portkey()
