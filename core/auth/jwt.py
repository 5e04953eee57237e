"""JWTs: a signature by the one configured kind of key, then the claims (RFC 7519, RFC 8725).

What RFC 8725 requires, and where it is done: the algorithm belongs to the key, never to the token (§3.1, `SigningKey`);
only the configured keys are used, the headers `jku`, `jwk`, `x5u` and `x5c` are ignored (§3.10); `iss`, `aud`, `sub`
and `exp` are required and compared whole (§3.8, §3.9); HMAC secrets have at least 32 bytes (§3.5). PyJWT checks the
signature and refuses any `crit` it does not know; the claims are checked here, because the clock is a parameter and
types are strict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Protocol

import jwt
from jwt.api_jws import PyJWS
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from core.auth.credentials import expired_credentials, invalid_credentials

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable

LEEWAY_SECONDS: Final = 60
"""How far the clocks of issuer and gateway may differ."""

_Text = Annotated[str, StringConstraints(min_length=1)]
_Moment = Annotated[float, Field(allow_inf_nan=False)]


class SigningKey(Struct, frozen=True):
    """A key that tokens are verified with, and the only algorithm it is for."""

    algorithm: Literal["HS256", "RS256", "ES256", "EdDSA"]
    material: Any = None

    def __repr__(self) -> str:
        """Leave out the material, which may be a secret."""
        return f"SigningKey({self.algorithm})"


class SigningKeySource(Protocol):
    """Where the key of a token is found."""

    async def find_key(self, kid: str | None) -> SigningKey | None:
        """Find the key by the token's `kid`. None: there is none. Raises AuthUnavailable."""
        ...


class FixedKey(Struct, frozen=True):
    """The one key of `GATEWAY_JWT_SECRET` or `GATEWAY_JWT_PUBLIC_KEY`; a token's `kid` does not matter."""

    key: SigningKey

    async def find_key(self, kid: str | None) -> SigningKey:  # noqa: ARG002 -- the port's signature
        """Find the one key."""
        return self.key


class Claims(BaseModel):
    """The claims that the gateway reads. Others are ignored."""

    model_config = ConfigDict(strict=True, frozen=True, hide_input_in_errors=True, defer_build=True)

    iss: _Text
    aud: _Text | list[str]
    sub: _Text
    exp: _Moment
    nbf: _Moment | None = None
    iat: _Moment | None = None
    role: Literal["virtual_key", "admin"]
    deployments: list[str] = Field(default=[])

    @property
    def narrowed_to(self) -> frozenset[str] | None:
        """The only deployments that the token allows; None where the claim is absent."""
        if "deployments" not in self.model_fields_set:
            return None
        return frozenset(self.deployments)


class JwtVerifier:
    """Verifies signature, issuer, audience and time of JWTs."""

    def __init__(self, keys: SigningKeySource, *, issuer: str, audience: str, now: Callable[[], dt.datetime]) -> None:
        """`now` is the wall clock, in UTC."""
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._now = now
        self._jws = PyJWS()

    async def verify(self, token: str) -> Claims:
        """Verify a token. Raises Unauthenticated (401), or AuthUnavailable (503) without a key to verify with."""
        try:
            kid = self._jws.get_unverified_header(token).get("kid")
        except jwt.PyJWTError:
            raise invalid_credentials() from None
        key = await self._keys.find_key(kid)
        if key is None:
            raise invalid_credentials()
        try:
            signed = self._jws.decode_complete(token, key.material, algorithms=[key.algorithm])
            claims = Claims.model_validate_json(signed["payload"])
        except (jwt.PyJWTError, ValidationError):
            raise invalid_credentials() from None
        self._check(claims)
        return claims

    def _check(self, claims: Claims) -> None:
        audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
        if claims.iss != self._issuer or self._audience not in audiences:
            raise invalid_credentials()
        now = self._now().timestamp()
        if now >= claims.exp + LEEWAY_SECONDS:
            raise expired_credentials()
        if any(moment is not None and moment > now + LEEWAY_SECONDS for moment in (claims.nbf, claims.iat)):
            raise invalid_credentials()


MIN_RSA_BITS: Final = 2048
"""RFC 7518 §3.3."""


def load_pem(pem: str) -> SigningKey | None:
    """Read a public key and fix its algorithm by its kind. None: it is not a public key, or too weak."""
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 -- only where a PEM is set
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    try:
        material = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        return None
    match material:
        case RSAPublicKey(key_size=bits) if bits >= MIN_RSA_BITS:
            return SigningKey("RS256", material)
        case EllipticCurvePublicKey(curve=SECP256R1()):
            return SigningKey("ES256", material)
        case Ed25519PublicKey():
            return SigningKey("EdDSA", material)
        case _:
            return None
