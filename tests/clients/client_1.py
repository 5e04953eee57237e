"""The last OpenAI SDK 1.x for Python, told on standard input what to do; says as JSON what came of it."""

from __future__ import annotations

import json
import sys
from typing import Any

import openai
from openai import AzureOpenAI

TASK = json.load(sys.stdin)


def client(key: str = TASK["key"], endpoint: str = TASK["endpoint"], **options: Any) -> AzureOpenAI:
    return AzureOpenAI(azure_endpoint=endpoint, api_version=TASK["api_version"], api_key=key, **options)


def drawn() -> dict[str, Any]:
    answer = client().images.generate(model="gpt-image-1", prompt=TASK["prompt"], size="1536x1024", quality="hd")
    return {
        "b64_json": answer.data[0].b64_json,
        "deployment": answer.extra_fields["deployment"],
        "total_tokens": answer.usage.total_tokens,
    }


def streamed() -> dict[str, Any]:
    events = list(client().images.generate(model="gpt-image-1", prompt=TASK["prompt"], stream=True, partial_images=2))
    return {
        "events": [[event.type, getattr(event, "partial_image_index", None)] for event in events],
        "b64_json": events[-1].b64_json,
        "total_tokens": events[-1].usage.total_tokens,
    }


def cut() -> dict[str, Any]:
    events: list[str] = []
    try:
        for event in client().images.generate(model=TASK["cut"], prompt=TASK["prompt"], stream=True, partial_images=2):
            events.append(event.type)  # noqa: PERF401 -- what came before the error counts
    except openai.APIError as error:
        return {"events": events, "raises": type(error).__name__, "code": error.code}
    return {"events": events, "raises": None, "code": None}


def refused(asked: dict[str, Any], **options: Any) -> dict[str, Any]:
    try:
        with client(asked["key"], asked["endpoint"], **options) as sdk:
            sdk.images.generate(model=asked["deployment"], prompt=TASK["prompt"], n=asked["n"])
    except openai.APIStatusError as error:
        return {
            "raises": type(error).__name__,
            "status": error.status_code,
            "code": error.code,
            "type": error.type,
            "param": error.param,
            "request_id": error.request_id,
        }
    return {"raises": None}


print(  # noqa: T201 -- what it says is its result
    json.dumps(
        {
            "version": openai.VERSION,
            "json": drawn(),
            "stream": streamed(),
            "cut": cut(),
            "lost": refused({**TASK, "deployment": TASK["lost"], "n": 1}),
            "refused": {name: refused(asked, max_retries=0) for name, asked in TASK["refused"].items()},
        }
    )
)
