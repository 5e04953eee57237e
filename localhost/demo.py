"""`make run`: the gateway in front of the emulator, with a key to try it at once. Nothing of anybody's is needed.

`make run-storage` is the same with its state in Azurite, and jobs that come over its queues.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import secrets
import signal
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING, Final

from localhost import azurite

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

OURS: Final = ("GATEWAY_", "AZURE_OPENAI_", "IDENTITY_", "AzureWebJobsStorage", "WEBSITE_")
"""Settings that this shell may hold for another gateway; the demo has its own."""
SECONDS_TO_END: Final = 20
"""How long a server may take to end: the host gives its calls 12 s, and then writes down what they came to."""


class Stopped(Exception):
    """Someone asked the demo to end."""


def main() -> int:
    """Start all, say how to draw a picture, and stay until told to end."""
    parser = argparse.ArgumentParser(prog="python -m localhost.demo", description=__doc__)
    parser.add_argument("--port", type=int, default=7071)
    parser.add_argument("--storage", action="store_true", help="keep state and queues in Azurite")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    running: list[subprocess.Popen[str]] = []
    try:
        return _run(arguments.port, running, storage=arguments.storage)
    except Stopped:
        return 0
    finally:
        _end(running)


def _run(port: int, running: list[subprocess.Popen[str]], *, storage: bool) -> int:
    connection_string = None
    if storage and (connection_string := _start_azurite(running)) is None:
        return 1
    emulator = _start(["-m", "emulator", "--port", "0"], dict(os.environ), running)
    if emulator is None:
        return 1
    key = f"sk-bf-{secrets.token_urlsafe(32)}"
    url = next(word for word in emulator.split() if word.startswith("http://"))
    if _start(["-m", "localhost", "--port", str(port)], _settings(url, key, connection_string), running) is None:
        return 1
    if connection_string is not None:
        print(f"State and queues are kept in Azurite: AzureWebJobsStorage='{connection_string}'", flush=True)
    print(_welcome(port, key, url), flush=True)
    first_to_end = threading.Semaphore(0)
    for process in running:
        threading.Thread(target=_watch, args=(process, first_to_end), daemon=True).start()
    first_to_end.acquire()
    print("One of them has ended; so does the demo.", file=sys.stderr, flush=True)
    return 1


def _start(arguments: Iterable[str], environment: dict[str, str], running: list[subprocess.Popen[str]]) -> str | None:
    """Start a server of ours and wait for its line. None: it ended, and has said why."""
    process = subprocess.Popen(  # noqa: S603 -- our own modules, with this very Python
        [sys.executable, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C ends the demo, and the demo ends them, in their order
    )
    running.append(process)
    if process.stdout is None:
        raise AssertionError("stdout was asked for as a pipe")
    return process.stdout.readline().strip() or None


def _start_azurite(running: list[subprocess.Popen[str]]) -> str | None:
    """Start Azurite and give its connection string. None: it is not here, or has not started."""
    try:
        started = azurite.start()
    except (OSError, RuntimeError) as error:
        print(f"Azurite cannot be started (it is installed with npm): {error}", file=sys.stderr, flush=True)
        return None
    running.append(started.process)
    return started.connection_string


def _settings(emulator: str, key: str, storage: str | None) -> dict[str, str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    record = {
        "id": "demo",
        "name": "The demo's key",
        "key_sha256": hashlib.sha256(key.encode()).hexdigest(),
        "deployments": ["*"],
    }
    return {
        **others,
        "AZURE_OPENAI_ENDPOINT": emulator,
        "AZURE_OPENAI_API_KEY": "emulator-key",
        "GATEWAY_VIRTUAL_KEYS": json.dumps([record]),
        "AzureWebJobsStorage": storage or "",
    }


def _welcome(port: int, key: str, emulator: str) -> str:
    gateway = f"http://127.0.0.1:{port}"
    url = f"{gateway}/openai/openai/deployments/gpt-image-1/images/generations"
    credential = f"-H 'Authorization: Bearer {key}'"
    headers = f"{credential} -H 'Content-Type: application/json'"
    body = '{"model": "gpt-image-1", "prompt": "A lighthouse at dawn, in watercolours"}'
    stream = '{"model": "gpt-image-1", "prompt": "A lighthouse at dawn", "stream": true, "partial_images": 2}'
    save = (
        "import base64, json, sys; data = json.load(sys.stdin)['data'];"
        " open('picture.png', 'wb').write(base64.b64decode(data[0]['b64_json'])); print('Saved picture.png')"
    )
    job_id = "import json, sys; print(json.load(sys.stdin)['id'])"
    return textwrap.dedent(
        f"""
        The gateway is on {gateway}, in front of an emulator of Azure OpenAI ({emulator}).

        Draw a picture and save it as picture.png (copy the whole line):

        curl -s {url} {headers} -d '{body}' | python3 -c "{save}"

        See it come as a stream:

        curl -sN {url} {headers} -d '{stream}' | cut -c 1-120

        Order it as a job, without waiting for it, and look how far it is:

        job=$(curl -s {url} {headers} -H 'Prefer: respond-async' -d '{body}' | python3 -c "{job_id}")

        curl -s {gateway}/jobs/$job {credential} | cut -c 1-300

        With an SDK: azure_endpoint="{gateway}/openai", api_key="{key}"

        Ctrl-C ends all."""
    )


def _stop(_number: int, _frame: FrameType | None) -> None:
    raise Stopped


def _end(running: list[subprocess.Popen[str]]) -> None:
    """End them, the gateway first, because it still needs the others. Asked a second time, end them at once."""
    try:
        for process in reversed(running):
            process.terminate()
            process.wait(SECONDS_TO_END)
    except (Stopped, subprocess.TimeoutExpired):
        for process in running:
            process.kill()


def _watch(process: subprocess.Popen[str], ended: threading.Semaphore) -> None:
    if process.stdout is not None:
        for line in process.stdout:
            print(line, end="", flush=True)
    process.wait()
    ended.release()


if __name__ == "__main__":
    sys.exit(main())
