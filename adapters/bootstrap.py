"""The composition root: from the settings to the gateway. Tests build the same with parts of their own."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import time
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from adapters.http.managed_identity import ManagedIdentity
from adapters.http.transports import Transports, make_transports
from adapters.stores import Stores
from core.auth.authenticator import Authenticator
from core.auth.key_cache import KeyCache
from core.auth.key_directory import KeyDirectory
from core.auth.key_store import KeyStore
from core.auth.virtual_keys import ConfiguredKeys
from core.azure_openai.client import AzureOpenAI
from core.azure_openai.token_source import AZURE_OPENAI, STORAGE, NoIdentity
from core.call import Accounting
from core.cors import CorsPolicy
from core.gateway import Gateway
from core.idempotency import repeats, store
from core.idempotency.repeats import Repeats
from core.idempotency.store import IdempotencyStore
from core.images import hosting
from core.images.hosting import ImageHosting
from core.jobs.events import EVENTS, RESULTS, EventPublisher
from core.jobs.http_api import JobsApi
from core.jobs.runner import JobRunner, lease_of
from core.jobs.store import CONTAINER as BODIES_OF_JOBS
from core.jobs.store import QUEUE as JOB_QUEUE
from core.jobs.store import TABLE as JOBS
from core.jobs.store import JobStore
from core.ledger.writer import LedgerWriter
from core.limits.key_calls import KeyCalls
from core.limits.limiter import LEASE_SLACK, Limiter
from core.model_list import ModelsApi
from core.repeated_calls import RepeatedCalls
from core.routes import Services
from core.routing.circuit_breaker import CircuitBreaker
from core.routing.executor import Executor
from core.storage.memory import MemoryQueues
from core.storage.row_keys import COUNTERS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx2

    from core.admin.http_api import AdminApi
    from core.auth.jwt import JwtVerifier
    from core.azure_openai.token_source import TokenSource
    from core.jobs.queue_requests import QueueConsumer
    from core.settings.settings import JwtSettings, Settings
    from core.storage.tables import Tables

PLATFORM_SECONDS: Final = 230.0
"""The time to the first byte that Azure Functions gives on every plan (Azure Functions docs, "HTTP trigger")."""

FUNCTION_SECONDS: Final = 1200.0
"""How long a function of a queue may take: `functionTimeout` in host.json."""
KEEPING_SECONDS: Final = 180.0
"""What a job may take besides drawing: to begin, and to keep its outcome while the store fails."""


def utc_now() -> dt.datetime:
    """The wall clock."""
    return dt.datetime.now(dt.UTC)


class App(Struct, frozen=True, kw_only=True):
    """What the settings make: the gateway, and what an operator asks."""

    gateway: Gateway
    services: Services
    """Who answers calls over HTTP."""
    key_ring: KeyDirectory
    job_runner: JobRunner
    queue_consumer: Callable[[], QueueConsumer]
    """Gives the one consumer; it is imported and made with its first message."""
    takes_messages: bool
    """Whether there are queues from which the Functions host starts functions."""


def build(settings: Settings, **parts: Any) -> Gateway:
    """Build the gateway alone (see `construct`)."""
    return compose(settings, **parts).gateway


def compose(
    settings: Settings,
    *,
    transports: Transports | None = None,
    stores: Stores | None = None,
    tables: Tables | None = None,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], dt.datetime] = utc_now,
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    chance: Callable[[], float] = random.random,
) -> App:
    """Build everything. `tables` take the place of those of the stores. Raises SettingsError for an unusable key."""
    transports = transports or make_transports(settings.http_transport)
    stores = stores or _stores(settings, transports, now, wait)
    tables = tables or stores.tables
    executor = Executor(
        AzureOpenAI(
            transports.azure_openai,
            _tokens(settings, transports, now),
            clock=clock,
            now=now,
            timeouts=settings.timeouts,
        ),
        CircuitBreaker(clock),
        policy=settings.policy,
        clock=clock,
        wait=wait,
        chance=chance,
    )
    jwts = None if settings.jwt is None else _verifier(settings.jwt, transports.jwks, clock, now)
    keys = _Keys(settings, tables, clock=clock, now=now)
    authenticator = Authenticator(keys.ring, jwts, now)
    limiter = Limiter(tables, call_seconds=settings.limits.call, now=now, wait=wait, chance=chance)
    accounting = Accounting(limiter=limiter, ledger=LedgerWriter(tables, clock=clock, wait=wait), now=now)
    hosted = ImageHosting(
        stores.blobs.container(hosting.CONTAINER),
        lifetime=settings.url_lifetime,
        now=now,
        own_address=settings.storage is not None,
        public_url=settings.public_url,
    )
    jobs = JobStore(
        tables.table(JOBS),
        stores.blobs.container(BODIES_OF_JOBS),
        stores.queues.queue(JOB_QUEUE),
        now=now,
        lease=lease_of(settings.job_seconds),
    )
    results = stores.blobs.container(RESULTS)
    publisher = EventPublisher(stores.queues.queue(EVENTS), results)
    job_runner = JobRunner(
        jobs=jobs,
        authenticator=authenticator,
        catalogue=settings.catalogue,
        executor=executor,
        accounting=accounting,
        hosting=hosted,
        results=ImageHosting(results, lifetime=settings.url_lifetime, now=now),
        events=publisher,
        queues=stores.queues,
        job_seconds=settings.job_seconds,
        timeouts=replace(settings.timeouts, first_byte=settings.job_seconds),
        clock=clock,
        wait=wait,
    )
    if isinstance(stores.queues, MemoryQueues):  # jobs are carried out in this process
        stores.queues.queue(JOB_QUEUE).handled_by(job_runner.run)
    jobs_api = JobsApi(jobs, authenticator, limiter, job_seconds=settings.job_seconds)
    gateway = Gateway(
        authenticator=authenticator,
        catalogue=settings.catalogue,
        accounting=accounting,
        executor=executor,
        limits=settings.limits,
        heartbeat_seconds=settings.heartbeat_seconds,
        hosting=hosted,
        repeated=RepeatedCalls(
            IdempotencyStore(
                tables.table(store.TABLE),
                stores.blobs.container(store.CONTAINER),
                now=now,
                lease=dt.timedelta(seconds=settings.limits.call + settings.limits.attempt) + LEASE_SLACK,
            ),
            Repeats(
                None if settings.storage is None else tables.table(repeats.TABLE),
                now=now,
                linger_seconds=settings.linger_seconds,
                repeat_seconds=settings.repeat_seconds,
            ),
            wait=wait,
        ),
        key_calls=KeyCalls(settings.key_calls),
        jobs=jobs_api,
        clock=clock,
        wait=wait,
    )
    return App(
        gateway=gateway,
        services=Services(
            gateway=gateway,
            jobs=jobs_api,
            models=ModelsApi(authenticator, settings.catalogue),
            cors=CorsPolicy(settings.cors_origins),
            admin=cache(lambda: _administration(keys, authenticator, limiter, tables, now)),
        ),
        key_ring=keys.ring,
        job_runner=job_runner,
        queue_consumer=cache(lambda: _queue_consumer(jobs, job_runner)),
        takes_messages=settings.storage is not None,
    )


def _stores(
    settings: Settings,
    transports: Transports,
    now: Callable[[], dt.datetime],
    wait: Callable[[float], Awaitable[None]],
) -> Stores:
    def tokens(client_id: str | None) -> TokenSource:
        return _identity(settings, transports, now, client_id=client_id, resource=STORAGE)

    return Stores(settings.storage, transports.storage, tokens, now=now, wait=wait)


class _Keys:
    """The keys of the setting and of the store, with the cache that calls are answered from."""

    def __init__(
        self, settings: Settings, tables: Tables, *, clock: Callable[[], float], now: Callable[[], dt.datetime]
    ) -> None:
        self.setting = ConfiguredKeys(settings.keys)
        self.stored = KeyStore(tables, now=now, taken=[key.id for key in self.setting])
        self.cached = KeyCache(self.stored, seconds=settings.key_cache_seconds, clock=clock)
        self.ring = KeyDirectory(self.setting, self.stored, self.cached)


def _administration(
    keys: _Keys, authenticator: Authenticator, limiter: Limiter, tables: Tables, now: Callable[[], dt.datetime]
) -> AdminApi:
    from core.admin.http_api import AdminApi  # noqa: PLC0415 -- with its first call
    from core.admin.keys import Keys  # noqa: PLC0415
    from core.admin.usage import Usage  # noqa: PLC0415
    from core.ledger.reports import UsageReports  # noqa: PLC0415

    return AdminApi(
        authenticator=authenticator,
        keys=Keys(keys.setting, keys.stored, keys.cached, tables.table(COUNTERS), now),
        usage=Usage(limiter, UsageReports(tables)),
        now=now,
    )


def _queue_consumer(jobs: JobStore, job_runner: JobRunner) -> QueueConsumer:
    from core.jobs.queue_requests import QueueConsumer  # noqa: PLC0415 -- with its first call

    return QueueConsumer(jobs, job_runner)


def list_warnings(settings: Settings) -> list[str]:
    """What an operator would want to know at the start: not wrong, but perhaps not meant."""
    lines = [*settings.warnings]
    if settings.storage is None:
        lines.append(
            "Keys, limits and the ledger are kept in this process only, and end with it: set AzureWebJobsStorage to"
            " keep them in Azure Table Storage"
        )
    if not settings.keys and settings.jwt is None:
        lines.append("Nobody can call this gateway: set GATEWAY_VIRTUAL_KEYS, or one of the GATEWAY_JWT_… keys")
    keyless = [target.name for target in settings.catalogue.targets() if target.key is None]
    if keyless and settings.identity is None:
        lines.append(
            f"No credentials for {', '.join(keyless)}: set AZURE_OPENAI_API_KEY (or api_key in GATEWAY_CATALOGUE),"
            " or give the app a managed identity"
        )
    if max(settings.limits.call, settings.heartbeat_seconds) > PLATFORM_SECONDS:
        lines.append(
            f"Azure cuts a call that has not begun to answer after {PLATFORM_SECONDS:.0f} s, and SDKs then ask again:"
            " set GATEWAY_DEADLINE_SECONDS and GATEWAY_HEARTBEAT_SECONDS below it"
        )
    if settings.storage is not None and settings.job_seconds + KEEPING_SECONDS > FUNCTION_SECONDS:
        lines.append(
            f"The Functions host ends a job after {FUNCTION_SECONDS:.0f} s, and then its outcome is unknown: set"
            f" GATEWAY_JOB_SECONDS to {FUNCTION_SECONDS - KEEPING_SECONDS:.0f} or less, or functionTimeout in host.json"
            " higher"
        )
    return lines


def _tokens(settings: Settings, transports: Transports, now: Callable[[], dt.datetime]) -> TokenSource:
    client_id = None if settings.identity is None else settings.identity.client_id
    return _identity(settings, transports, now, client_id=client_id, resource=AZURE_OPENAI)


def _identity(
    settings: Settings,
    transports: Transports,
    now: Callable[[], dt.datetime],
    *,
    client_id: str | None,
    resource: str,
) -> TokenSource:
    if settings.identity is None:
        return NoIdentity()
    return ManagedIdentity(
        transports.identity,
        endpoint=settings.identity.endpoint,
        header=settings.identity.header,
        client_id=client_id,
        time=lambda: now().timestamp(),
        resource=resource,
    )


def _verifier(
    settings: JwtSettings,
    transport: httpx2.AsyncBaseTransport,
    clock: Callable[[], float],
    now: Callable[[], dt.datetime],
) -> JwtVerifier:
    from adapters.jwt_verifier import verifier  # noqa: PLC0415 -- many apps take virtual keys only

    return verifier(settings, transport, clock, now)
