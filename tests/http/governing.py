"""An operator of a running gateway, as these tests speak of one."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import jwt

from tests.house import house

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

    from tests.house import House

SECRET = "a secret of thirty-two bytes or more"
ISSUER, AUDIENCE = "https://issuer.example", "image-gateway"
TRUST = {"GATEWAY_JWT_SECRET": SECRET, "GATEWAY_JWT_ISSUER": ISSUER, "GATEWAY_JWT_AUDIENCE": AUDIENCE}

PATH = "/api/governance/virtual-keys"
USAGE = "/api/governance/usage"
NOBODY = f"{PATH}/vk-{'0' * 20}"
TEAM_A = {
    "name": "Team A",
    "deployments": ["gpt-image-1"],
    "expires_at": None,
    "rate_limit": {"requests": {"limit": 60, "window": "1m"}, "images": {"limit": 20, "window": "1h"}},
    "budget": {"usd": 50, "window": "month"},
    "metadata": {"cost_center": "4711"},
}


def token(**claims: Any) -> str:
    """A JWT of an admin but for what is said; None leaves a claim out."""
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "root", "role": "admin", "exp": int(time.time()) + 600, **claims}
    return jwt.encode({name: value for name, value in good.items() if value is not None}, SECRET, "HS256")


class Operator:
    """Somebody who asks the admin API of a house."""

    def __init__(self, own: House, credential: str | None = None) -> None:
        self.house = own
        self._credential = token() if credential is None else credential

    async def ask(
        self, method: str, path: str = PATH, *, headers: dict[str, str] | None = None, **parts: Any
    ) -> httpx2.Response:
        """Ask for something."""
        credential = {"authorization": f"Bearer {self._credential}"}
        return await self.house.http.request(method, path, headers={**credential, **(headers or {})}, **parts)

    async def make(self, **fields: Any) -> dict[str, Any]:
        """Make a key that is Team A's but for what is said; the whole answer."""
        response = await self.ask("POST", json={**TEAM_A, **fields})
        assert response.status_code == 201, response.text
        answer: dict[str, Any] = response.json()
        return answer

    async def change(self, record: dict[str, Any], **fields: Any) -> httpx2.Response:
        """Change a key as it was read."""
        return await self.ask("PUT", own_path(record), json=fields, headers={"if-match": record["etag"]})

    async def show(self, key_id: str) -> dict[str, Any]:
        """Read a key."""
        response = await self.ask("GET", f"{PATH}/{key_id}")
        assert response.status_code == 200, response.text
        record: dict[str, Any] = response.json()["virtual_key"]
        return record


def own_path(record: dict[str, Any], *more: str) -> str:
    """The path of a key."""
    return "/".join((PATH, record["id"], *more))


@asynccontextmanager
async def governed(**parts: Any) -> AsyncIterator[Operator]:
    """Run a gateway that takes admins' JWTs, and give an operator of it."""
    async with house(GATEWAY_MAX_RETRIES="0", **TRUST, **parts) as own:
        yield Operator(own)
