"""The settings, read once from the environment and checked whole.

What is wrong stops the start, all of it named at once, each with its cure; nothing set means nothing allowed. Plain
pydantic does it: pydantic-settings would cost another 120 ms of CPU at every cold start.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from core.azure_openai.response_reader import Timeouts
from core.domain.secret import Secret
from core.domain.settings_error import SettingsError, SeveralSettingsErrors
from core.routing.executor import TimeLimits
from core.routing.next_attempt import RetryPolicy
from core.settings.catalogue_json import read_catalogue, read_keys
from core.settings.environment import Environment, url
from core.settings.storage import is_in_azure, read_storage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.auth.virtual_keys import VirtualKey
    from core.deployments.catalogue import Catalogue
    from core.storage.account import StorageAccount

MIN_SECRET_BYTES: Final = 32
"""RFC 7518 §3.2: an HS256 key is at least as long as its hash."""

MAX_KEY_CALLS: Final = 10_000
MAX_RETRIES: Final = 10
MAX_URL_HOURS: Final = 7 * 24
"""The longest that a link can be signed for with the app's identity (REST reference, "Get User Delegation Key")."""

_ORIGIN: Final = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?")
"""As browsers write it (Fetch standard, "Origin header"): in lower case, without the port that the scheme implies."""
HTTP_TRANSPORTS: Final = ("built-in", "httpx2")
"""The gateway's own transport, and httpx2's."""

_JWT_KEYS: Final = ("GATEWAY_JWT_SECRET", "GATEWAY_JWT_PUBLIC_KEY", "GATEWAY_JWT_JWKS_URL")
_KNOWN_ELSEWHERE: Final = frozenset({"GATEWAY_URL", "GATEWAY_KEY", "GATEWAY_ADMIN_TOKEN"})
"""Settings of the command line."""
_WITHOUT_EFFECT: Final = frozenset(
    {
        *("GATEWAY_QUEUE_SECONDS", "GATEWAY_QUEUE_CALLS", "GATEWAY_PLAYGROUND"),
        *("GATEWAY_EDIT_MEGABYTES", "GATEWAY_UPLOAD_SECONDS"),
    }
)
"""Settings of later versions: they may be set before such a version runs, and after it has been rolled back."""


class JwtSettings(Struct, frozen=True, kw_only=True):
    """How JWTs are checked; exactly one of the first three is set."""

    secret: Secret | None = None
    public_key: str | None = None
    """A PEM."""
    jwks_url: str | None = None
    issuer: str
    audience: str


class IdentitySettings(Struct, frozen=True, kw_only=True):
    """How the platform offers the app's managed identity."""

    endpoint: str
    header: Secret
    client_id: str | None


class Settings(Struct, frozen=True, kw_only=True):
    """All settings of the gateway."""

    catalogue: Catalogue
    keys: tuple[VirtualKey, ...]
    key_cache_seconds: float
    """How long a stored key is used as it was read."""
    jwt: JwtSettings | None
    identity: IdentitySettings | None
    storage: StorageAccount | None
    """Where state is kept; None: in this process only."""
    limits: TimeLimits
    policy: RetryPolicy
    timeouts: Timeouts
    http_transport: str
    """One of HTTP_TRANSPORTS: what carries requests to Azure."""
    heartbeat_seconds: float
    linger_seconds: float
    """How long a generation goes on whose caller has left; 0: not at all."""
    repeat_seconds: float
    """How long an error that may have been billed is the answer to identical requests; 0: not at all."""
    key_calls: int
    """How many calls of one key are drawn at once in an instance."""
    url_lifetime: dt.timedelta
    """How long the link to a picture works."""
    cors_origins: frozenset[str]
    """The origins of the pages that may call from a browser; `*` among them: all."""
    public_url: str | None
    """The gateway's own address, as callers see it, without a slash at its end."""
    job_seconds: float
    """How long a job may take once it has begun."""
    warnings: tuple[str, ...]
    """What is probably a mistake, but does not stop the start."""


def read_settings(variables: Mapping[str, str]) -> Settings:
    """Read and check every setting. Raises SettingsError for all that are wrong."""
    env = Environment(variables)
    no_keys: tuple[VirtualKey, ...] = ()
    settings = Settings(
        catalogue=read_catalogue(env),
        keys=env.collect(lambda: read_keys(env), no_keys),
        key_cache_seconds=env.seconds("GATEWAY_KEY_CACHE_SECONDS", 30),
        jwt=env.collect(lambda: _jwt(env), None),
        identity=_identity(env),
        storage=env.collect(lambda: read_storage(env), None),
        limits=TimeLimits(
            call=env.seconds("GATEWAY_DEADLINE_SECONDS", 220),
            attempt=env.seconds("GATEWAY_ATTEMPT_SECONDS", 200),
        ),
        policy=RetryPolicy(
            max_retries=env.whole("GATEWAY_MAX_RETRIES", 2, maximum=MAX_RETRIES),
            fallback_on_refusal=env.flag("GATEWAY_FALLBACK_ON_REFUSAL"),
        ),
        timeouts=Timeouts(
            connect=env.seconds("GATEWAY_CONNECT_SECONDS", 5),
            first_byte=env.seconds("GATEWAY_FIRST_BYTE_SECONDS", 200),
            idle=env.seconds("GATEWAY_IDLE_SECONDS", 90),
        ),
        http_transport=env.choice("GATEWAY_HTTP_TRANSPORT", *HTTP_TRANSPORTS),
        heartbeat_seconds=env.seconds("GATEWAY_HEARTBEAT_SECONDS", 10),
        linger_seconds=env.seconds("GATEWAY_LINGER_SECONDS", 15, zero_allowed=True),
        repeat_seconds=env.seconds("GATEWAY_REPEAT_SECONDS", 90, zero_allowed=True),
        key_calls=env.whole("GATEWAY_KEY_CALLS", 128, minimum=1, maximum=MAX_KEY_CALLS),
        url_lifetime=dt.timedelta(hours=env.whole("GATEWAY_URL_HOURS", 24, minimum=1, maximum=MAX_URL_HOURS)),
        cors_origins=env.collect(lambda: _cors_origins(env), frozenset()),
        public_url=env.collect(lambda: _public_url(env), None),
        job_seconds=env.seconds("GATEWAY_JOB_SECONDS", 900),
        warnings=(),
    )
    ignored = [f"{name} has no effect in this version" for name in sorted(_WITHOUT_EFFECT) if env.text(name)]
    unknown = env.unknown(known_elsewhere=_KNOWN_ELSEWHERE | _WITHOUT_EFFECT)
    if is_in_azure(env):  # there a new version's setting may be set before the new version runs
        ignored += map(str, unknown)
    else:
        env.errors += unknown
    if env.errors:
        raise env.errors[0] if len(env.errors) == 1 else SeveralSettingsErrors(env.errors)
    return replace(settings, warnings=tuple(ignored))


def _cors_origins(env: Environment) -> frozenset[str]:
    origins = (env.text("GATEWAY_CORS_ORIGINS") or "").replace(",", " ").split()
    for origin in origins:
        if origin != "*" and not _ORIGIN.fullmatch(origin):
            raise SettingsError(
                "GATEWAY_CORS_ORIGINS",
                "has an entry that is no origin",
                "give origins without a path, such as https://app.example, with commas between, or * for every one",
            )
    return frozenset(origins)


def _public_url(env: Environment) -> str | None:
    text = env.text("GATEWAY_PUBLIC_URL")
    return None if text is None else url("GATEWAY_PUBLIC_URL", text, path_allowed=True).rstrip("/")


def _jwt(env: Environment) -> JwtSettings | None:
    given = [name for name in _JWT_KEYS if env.text(name) is not None]
    issuer, audience = env.text("GATEWAY_JWT_ISSUER"), env.text("GATEWAY_JWT_AUDIENCE")
    if not given:
        if issuer or audience:
            raise SettingsError(
                "GATEWAY_JWT_ISSUER" if issuer else "GATEWAY_JWT_AUDIENCE",
                "is set, but no key to verify JWTs with",
                f"set one of {', '.join(_JWT_KEYS)}",
            )
        return None
    if len(given) > 1:
        raise SettingsError(" and ".join(given), "are both set", "keep exactly one")
    for name, value in (("GATEWAY_JWT_ISSUER", issuer), ("GATEWAY_JWT_AUDIENCE", audience)):
        if value is None:
            env.errors.append(SettingsError(name, f"is not set, and {given[0]} is", "set it to what your JWTs say"))
    return _jwt_key(given[0], env.text(given[0]) or "", issuer or "", audience or "")


def _jwt_key(setting: str, value: str, issuer: str, audience: str) -> JwtSettings:
    if setting == "GATEWAY_JWT_JWKS_URL":
        return JwtSettings(jwks_url=url(setting, value, path_allowed=True), issuer=issuer, audience=audience)
    if setting == "GATEWAY_JWT_PUBLIC_KEY":
        # App settings hold one line; `\n` stands for the line breaks of a PEM there.
        return JwtSettings(public_key=value.replace("\\n", "\n"), issuer=issuer, audience=audience)
    if len(value.encode()) < MIN_SECRET_BYTES:
        raise SettingsError(
            setting, "is too short", f"give at least {MIN_SECRET_BYTES} bytes, such as `openssl rand -hex 32` prints"
        )
    return JwtSettings(secret=Secret(value), issuer=issuer, audience=audience)


def _identity(env: Environment) -> IdentitySettings | None:
    address, header = env.text("IDENTITY_ENDPOINT"), env.text("IDENTITY_HEADER")
    if address is None or header is None:
        return None
    return IdentitySettings(endpoint=address, header=Secret(header), client_id=env.text("AZURE_CLIENT_ID"))
