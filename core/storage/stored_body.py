"""Bodies that belong to a row: small ones are in the row itself, large ones in a blob that the row names."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    from core.domain.image_json import Buffer
    from core.storage.blobs import Container, Content
    from core.storage.tables import Value

MAX_INLINE_BYTES: Final = 32 * 1024
"""The largest body that is stored in the row itself; a row's value may have 64 KiB."""


async def put_body(
    container: Container, field: str, body: Sequence[Buffer], *, content_type: str, expires_at: dt.datetime
) -> dict[str, Value]:
    """Store a body, and give the values of the row that lead to it. Raises StoreUnavailable."""
    if sum(len(piece) for piece in body) <= MAX_INLINE_BYTES:
        return {field: b"".join(body)}
    name = secrets.token_hex(16)
    await container.put(name, body, content_type=content_type, expires_at=expires_at)
    return {f"{field}_blob": name}


async def get_body(container: Container, field: str, values: Mapping[str, Value]) -> Content | bytes | None:
    """Find a body again; None: there is none, or the store has dropped it. Raises StoreUnavailable."""
    if (name := values.get(f"{field}_blob")) is not None:
        return await container.get(str(name))
    inline = values.get(field)
    return inline if isinstance(inline, bytes) else None


async def whole(body: Content | bytes) -> bytes:
    """Read a body to its end. Raises StoreUnavailable."""
    if isinstance(body, bytes):
        return body
    return b"".join([bytes(piece) async for piece in body.pieces()])
