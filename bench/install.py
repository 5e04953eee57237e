"""Each gateway in a folder of its own under .cache/bench, installed once from the public registries."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

from bench.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CACHE: Final = ROOT / ".cache" / "bench"
GATEWAY: Final = CACHE / "gateway"
GATEWAY_PYTHON: Final = GATEWAY / "bin" / "python"
LITELLM: Final = CACHE / "litellm"
PORTKEY: Final = CACHE / "portkey"
INSTALL_SECONDS: Final = 900

PORTKEY_PACKAGE: Final = {
    "private": True,
    "dependencies": {"@portkey-ai/gateway": "^1.15"},
    # With any later one the headers of a streamed answer cannot be changed, and all of Portkey's streams are 500.
    "overrides": {"@hono/node-server": "1.13.8"},
}
_PYTHON_PACKAGES: Final = (
    *("litellm", "uvicorn", "uvloop", "httptools", "httpx", "httpx2", "httpcore2", "aiohttp"),
    *("orjson", "msgspec", "pydantic", "starlette"),
)
_NODE_PACKAGES: Final = ("@portkey-ai/gateway", "hono", "@hono/node-server")


class NotInstalled(Exception):
    """A gateway cannot be had here; the message says why."""


def install_gateway() -> dict[str, str]:
    """Install the packages of requirements.txt; give the versions. Raises NotInstalled."""
    requirements = ROOT / "requirements.txt"
    if _begin(GATEWAY, requirements.read_text()):
        _make_virtual_environment(GATEWAY, ["-r", requirements])
        _finish(GATEWAY, requirements.read_text())
    return _list_python_packages(GATEWAY)


def install_litellm() -> dict[str, str]:
    """Install LiteLLM's proxy; give the versions. Raises NotInstalled."""
    package = "litellm[proxy]"
    if _begin(LITELLM, package):
        _make_virtual_environment(LITELLM, [package])
        _finish(LITELLM, package)
    return _list_python_packages(LITELLM)


def install_portkey() -> dict[str, str]:
    """Install Portkey's gateway; give the versions. Raises NotInstalled."""
    package = json.dumps(PORTKEY_PACKAGE, indent=2)
    if _begin(PORTKEY, package):
        (PORTKEY / "package.json").write_text(package)
        _run(["npm", "install", "--prefix", PORTKEY, "--no-audit", "--no-fund", "--loglevel=error"])
        _finish(PORTKEY, package)
    manifests = {name: PORTKEY / "node_modules" / name / "package.json" for name in _NODE_PACKAGES}
    return {
        "node": _run(["node", "--version"]).strip().removeprefix("v"),
        **{name: json.loads(path.read_text())["version"] for name, path in manifests.items() if path.exists()},
    }


def _begin(folder: Path, wanted: str) -> bool:
    """Empty the folder unless what is wanted has been installed there; whether it is to be installed now."""
    stamp = folder / ".installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return False
    print(f"Installing into {folder.relative_to(ROOT)} ...", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return True


def _finish(folder: Path, wanted: str) -> None:
    (folder / ".installed").write_text(wanted)


def _make_virtual_environment(folder: Path, packages: Sequence[str | Path]) -> None:
    python = _run([ROOT / "tools" / "find-python"]).strip()
    _run([python, "-m", "venv", folder])
    _run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", *packages])


def _list_python_packages(folder: Path) -> dict[str, str]:
    python = folder / "bin" / "python"
    version = _run([python, "-c", "import platform; print(platform.python_version())"]).strip()
    listed = json.loads(_run([python, "-m", "pip", "list", "--format=json", "--disable-pip-version-check"]))
    found = {each["name"].lower(): each["version"] for each in listed}
    return {"python": version, **{name: found[name] for name in _PYTHON_PACKAGES if name in found}}


def _run(command: Sequence[str | Path]) -> str:
    """What a command says. Raises NotInstalled where it fails."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.CalledProcessError as error:
        raise NotInstalled(f"{' '.join(words[:4])} failed: {error.stderr.strip()[-400:]}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(f"{' '.join(words[:4])} failed: {type(error).__name__}") from None
    return done.stdout
