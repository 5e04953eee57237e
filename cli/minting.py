"""Signing a JWT as the gateway checks it, with the settings it checks it by."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import jwt

from cli.failure import Failure
from core.contract.secret import Secret
from core.environment import Environment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SECRET: Final = "GATEWAY_JWT_SECRET"  # noqa: S105 -- a setting's name
FEWEST_SECRET_BYTES: Final = 32
"""RFC 7518 §3.2; the gateway asks for as many."""
LOCAL_SETTINGS: Final = "local.settings.json"

_OTHER_KEYS: Final = ("GATEWAY_JWT_PUBLIC_KEY", "GATEWAY_JWT_JWKS_URL")


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who signs, and for whom."""

    secret: Secret
    name: str
    audience: str

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Sign claims, with `iss` and `aud` added (HS256, RFC 7519)."""
        whole = {"iss": self.name, "aud": self.audience, **claims}
        return jwt.encode(whole, self.secret.reveal(), algorithm="HS256")


def read_issuer(variables: Mapping[str, str], directory: Path) -> Issuer:
    """Read the three settings from the environment, else from local.settings.json. Raises Failure."""
    env = Environment({**_local_settings(directory / LOCAL_SETTINGS), **variables})
    secret = env.text(SECRET)
    if secret is None:
        other = next((name for name in _OTHER_KEYS if env.text(name) is not None), None)
        if other is not None:
            raise Failure(
                f"This gateway checks tokens with {other}, so they cannot be minted here.",
                "Ask whoever holds the private key, your identity provider, for a token with the claim role: admin.",
            )
        raise Failure(f"{SECRET} is not set.", f"Set it as the gateway has it, here or in {LOCAL_SETTINGS}.")
    if len(secret.encode()) < FEWEST_SECRET_BYTES:
        raise Failure(f"{SECRET} is too short.", f"It has at least {FEWEST_SECRET_BYTES} bytes, as the gateway has it.")
    return Issuer(Secret(secret), _needed(env, "GATEWAY_JWT_ISSUER"), _needed(env, "GATEWAY_JWT_AUDIENCE"))


def _needed(env: Environment, name: str) -> str:
    value = env.text(name)
    if value is None:
        raise Failure(f"{name} is not set.", f"Set it as the gateway has it, here or in {LOCAL_SETTINGS}.")
    return value


def _local_settings(path: Path) -> dict[str, str]:
    """Read the settings that `func start` and `make serve` read too."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Failure(f"{path.name} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise Failure(f"{path.name} is not JSON.") from None
    settings = content.get("Values") if isinstance(content, dict) else None
    if not isinstance(settings, dict):
        raise Failure(f"{path.name} has no object of Values.")
    if content.get("IsEncrypted") is True:
        raise Failure(f"{path.name} is encrypted.", "Decrypt it (func settings decrypt), or set the environment.")
    return {name: value for name, value in settings.items() if isinstance(value, str)}
