"""The two forms of an answer and the way between them (contract §4).

Whatever upstream gave, JSON or a stream, is held as the *images answer*: `created`, `data[]` and what stands beside
it. A stream's `completed` events are folded into one; a caller who streams gets one event per item.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from core.domain.image_json import ImageJson

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from core.domain.image_json import Buffer

PARTIAL: Final = "image_generation.partial_image"
COMPLETED: Final = "image_generation.completed"
ERROR: Final = "error"

_OF_AN_ITEM: Final = frozenset({"b64_json", "url", "revised_prompt", "content_filter_results", "prompt_filter_results"})
"""What belongs to one picture when a `completed` event is folded; the rest stands at the top."""


def completed_to_response(events: Sequence[ImageJson]) -> ImageJson:
    """Make one images answer of a stream's `completed` events."""
    created: dict[str, Any] = {}
    top: dict[str, Any] = {}
    items: list[dict[str, Any]] = []
    literals: dict[str, Sequence[Buffer]] = {}
    for event in events:
        literals.update(event.literals)
        items.append({name: value for name, value in event.value.items() if name in _OF_AN_ITEM})
        top.update(
            (name, value)
            for name, value in event.value.items()
            if name not in _OF_AN_ITEM and name not in {"type", "index", "created_at"}
        )
        if "created_at" in event.value:
            created = {"created": event.value["created_at"]}
    return ImageJson({**created, **top, "data": items}, literals)


def response_to_completed(answer: ImageJson) -> Iterator[ImageJson]:
    """Make one `completed` event of each item; the one `usage` stands on the last."""
    top = {
        name: value for name, value in answer.value.items() if name not in {"data", "created", "usage", "extra_fields"}
    }
    if "created" in answer.value:
        top["created_at"] = answer.value["created"]
    items = answer.value["data"]
    for index, item in enumerate(items):
        event = {"type": COMPLETED, **top, **item} | {"type": COMPLETED, "index": index}
        if index == len(items) - 1 and "usage" in answer.value:
            event["usage"] = answer.value["usage"]
        yield ImageJson(event, answer.literals)


def with_indexes(answer: ImageJson, extra_fields: Mapping[str, Any]) -> ImageJson:
    """The images answer as JSON callers get it: each item numbered, and the gateway's own fields added."""
    items = [{**item, "index": index} for index, item in enumerate(answer.value["data"])]
    return ImageJson({**answer.value, "data": items, "extra_fields": dict(extra_fields)}, answer.literals)


def has_picture(item: object) -> bool:
    """Whether an item of `data`, or a `completed` event, holds a picture."""
    return isinstance(item, dict) and any(
        isinstance(item.get(name), str) and item[name] for name in ("b64_json", "url")
    )
