"""OpenAI SDKs that are not in the venv, and curl: each in a process of its own, before the same gateway."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.clients.told import CLIENTS, COMPLETED, PARTIAL, check, pixels, run, tasks
from tests.house import KEY, PROMPT, ROOT, events_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

HERE = Path(__file__).parent
PYTHON_1 = CLIENTS / "python-1"
PYTHON = next(filter(Path.exists, [ROOT / ".venv/bin/python"]), Path(sys.executable))
"""The Python that the folder was filled for; another may not load what is compiled in it."""
NODE = CLIENTS / "node"
INSTALL = "run `make .cache/clients/.done`"


@pytest.mark.skipif(not (PYTHON_1 / "openai").is_dir(), reason=f"openai 1.x for Python is not installed: {INSTALL}")
async def test_python_1(gateway, hasty):
    """The SDK 1.x for Python draws, streams and raises its typed errors; it sends the key twice."""
    said = await run([PYTHON, HERE / "client_1.py"], tasks("py1", gateway, hasty), PYTHONPATH=str(PYTHON_1))
    assert said["version"].startswith("1.")
    check(said, gateway, "py1")


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node on this machine")
@pytest.mark.skipif(
    not (NODE / "node_modules" / "openai").is_dir(), reason=f"openai for Node is not installed: {INSTALL}"
)
async def test_node(gateway, hasty):
    """The SDK for Node draws, streams and raises its typed errors."""
    said = await run(["node", HERE / "client.mjs", NODE], tasks("node", gateway, hasty))
    check(said, gateway, "node")


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
class TestCurl:
    """curl, as the published page shows it."""

    async def curl(self, gateway, *options: str, **body: object) -> str:
        url = f"{gateway.url}/openai/openai/deployments/gpt-image-1/images/generations?api-version=2025-04-01-preview"
        process = await asyncio.create_subprocess_exec(
            *("curl", "--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "20", "-X", "POST", url),
            *("-H", f"Authorization: Bearer {KEY}", *options),
            *("-d", json.dumps({"model": "string", "prompt": PROMPT, **body})),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert (0, b"") == (process.returncode, err)
        return out.decode()

    @pytest.mark.parametrize("options", [("-H", "Content-Type: application/json"), ()], ids=["JSON", "as -d says"])
    async def test_json(self, gateway, options):
        """It gets a picture as JSON."""
        answer = json.loads(await self.curl(gateway, *options, size="1024x1024"))
        assert ("PNG", (1024, 1024)) == pixels(answer["data"][0]["b64_json"])

    async def test_stream(self, gateway):
        """With `-N` it gets it as a stream."""
        found = events_of(await self.curl(gateway, "-N", stream=True, partial_images=2))
        assert [PARTIAL, PARTIAL, COMPLETED] == [name for name, _ in found]
