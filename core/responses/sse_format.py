"""Server-sent events, as they are written (contract §4, "Stream")."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from core.domain.image_json import Buffer, ImageJson


def serialize_event(name: str, document: ImageJson) -> Iterator[Buffer]:
    """One event; the pictures in it are not copied."""
    yield b"event: %s\ndata: " % name.encode()
    yield from document.render()
    yield b"\n\n"
