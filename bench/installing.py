"""Each contender in a folder of its own under .cache/bench, installed once from the public registries."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

from bench.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

CACHE: Final = ROOT / ".cache" / "bench"
GATEWAY: Final = CACHE / "gateway"
LITELLM: Final = CACHE / "litellm"
PORTKEY: Final = CACHE / "portkey"
CLIENTS: Final = CACHE / "clients"
INSTALL_SECONDS: Final = 900
OTHER_CLIENTS: Final = ("httpx>=0.28,<1", "httpx-aiohttp>=0.1.8,<1")
"""What the gateway's own connection is compared with."""

PORTKEY_PACKAGE: Final = {
    "private": True,
    "dependencies": {"@portkey-ai/gateway": "^1.15"},
    # With any later one the headers of a streamed answer cannot be changed, and all of Portkey's streams are 500.
    "overrides": {"@hono/node-server": "1.13.8"},
}
_SHOWN: Final = (
    *("litellm", "uvicorn", "uvloop", "httptools", "httpx", "httpx-aiohttp", "aiohttp"),
    *("orjson", "msgspec", "pydantic", "starlette"),
)


class NotInstalledError(Exception):
    """A contender cannot be had here; the message says why."""


def install(name: str) -> None:
    """Install a contender where that has not been done, or not for these requirements. Raises NotInstalledError."""
    installer, folder, wanted = _INSTALLERS[name]
    stamp = folder / ".installed"
    if stamp.exists() and stamp.read_text() == wanted():
        return
    print(f"Installing {name} into {folder.relative_to(ROOT)} ...", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    installer()
    stamp.write_text(wanted())


def _install_gateway() -> None:
    _virtual_environment(GATEWAY, ["-r", ROOT / "requirements.txt"])


def _install_clients() -> None:
    _virtual_environment(CLIENTS, ["-r", ROOT / "requirements.txt", *OTHER_CLIENTS])


def _install_litellm() -> None:
    _virtual_environment(LITELLM, ["litellm[proxy]"])


def _virtual_environment(folder: Path, packages: Sequence[str | Path]) -> None:
    python = _said([ROOT / "tools" / "find-python"]).strip()
    _said([python, "-m", "venv", folder])
    _said([folder / "bin" / "python", "-m", "pip", "install", "--quiet", *packages])


def _install_portkey() -> None:
    if shutil.which("npm") is None:
        raise NotInstalledError("there is no npm")
    (PORTKEY / "package.json").write_text(json.dumps(PORTKEY_PACKAGE, indent=2))
    _said(["npm", "install", "--prefix", PORTKEY, "--no-audit", "--no-fund", "--loglevel=error"])


def _said(command: Sequence[str | Path]) -> str:
    """What a command says. Raises NotInstalledError where it fails."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.CalledProcessError as error:
        raise NotInstalledError(f"{' '.join(words[:4])} failed: {error.stderr.strip()[-400:]}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalledError(f"{' '.join(words[:4])} failed: {type(error).__name__}") from None
    return done.stdout


_INSTALLERS: Final[dict[str, tuple[Callable[[], None], Path, Callable[[], str]]]] = {
    "gateway": (_install_gateway, GATEWAY, (ROOT / "requirements.txt").read_text),
    "clients": (_install_clients, CLIENTS, lambda: (ROOT / "requirements.txt").read_text() + str(OTHER_CLIENTS)),
    "litellm": (_install_litellm, LITELLM, lambda: "litellm[proxy]"),
    "portkey": (_install_portkey, PORTKEY, lambda: json.dumps(PORTKEY_PACKAGE)),
}
"""By name: what installs it, where to, and for what (when that changes, it is installed anew)."""


def can_be_installed(name: str) -> bool:
    """Whether there is anything to install for a contender."""
    return name in _INSTALLERS


def python_packages(folder: Path) -> dict[str, str]:
    """The versions of a virtual environment: its Python and the packages that matter for speed."""
    python = folder / "bin" / "python"
    version = _said([python, "-c", "import platform; print(platform.python_version())"]).strip()
    listed = json.loads(_said([python, "-m", "pip", "list", "--format=json", "--disable-pip-version-check"]))
    return {"python": version, **_those_shown((each["name"], each["version"]) for each in listed)}


def node_packages(folder: Path) -> dict[str, str]:
    """The versions of a Node application: Node's, and those of the packages that matter for speed."""
    names = ("@portkey-ai/gateway", "hono", "@hono/node-server")
    manifests = {name: folder / "node_modules" / name / "package.json" for name in names}
    return {
        "node": _said(["node", "--version"]).strip().removeprefix("v"),
        **{name: json.loads(path.read_text())["version"] for name, path in manifests.items() if path.exists()},
    }


def _those_shown(versions: Iterable[tuple[str, str]]) -> dict[str, str]:
    found = {name.lower(): version for name, version in versions}
    return {name: found[name] for name in _SHOWN if name in found}
