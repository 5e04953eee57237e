"""The composition root: from the settings to the gateway. Tests build the same with parts of their own."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import time
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from core.access.authenticator import Authenticator
from core.access.cached_keys import CachedKeys
from core.access.key_ring import KeyRing
from core.access.stored_keys import StoredKeys
from core.access.virtual_keys import StaticKeys
from core.announcing import EVENTS, RESULTS, Announcer
from core.attempts.cooling import Cooling
from core.bookkeeping import Bookkeeping
from core.drawing import Studio
from core.gateway import Gateway
from core.generation import Generator
from core.governance.governor import LEASE_SLACK, Governor
from core.governance.ledger import Ledger
from core.governance.places import COUNTERS
from core.keeping import once, pictures
from core.keeping.jobs import CONTAINER as BODIES_OF_JOBS
from core.keeping.jobs import QUEUE as JOB_QUEUE
from core.keeping.jobs import TABLE as JOBS
from core.keeping.jobs import Jobs
from core.keeping.once import Once
from core.keeping.pictures import Pictures
from core.orders import Orders
from core.storage.memory_queues import MemoryQueues
from core.stores import Stores
from core.upstream.attempt import Upstream
from core.upstream.http1 import Http1Connection
from core.upstream.identity import AZURE_OPENAI, STORAGE, ManagedIdentity, NoIdentity
from core.upstream.receiving import Patience
from core.workshop import Workshop, lease_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from core.access.jwts import JwtVerifier
    from core.administration.administration import Administration
    from core.letters import Letterbox
    from core.settings import JwtSettings, Settings
    from core.storage.tables import Tables
    from core.upstream.connection import Connection
    from core.upstream.identity import TokenSource

PLATFORM_SECONDS: Final = 230.0
"""The time to the first byte that Azure Functions gives on every plan (Azure Functions docs, "HTTP trigger")."""

FUNCTION_SECONDS: Final = 1200.0
"""How long a function of a queue may take: `functionTimeout` in host.json."""
KEEPING_SECONDS: Final = 180.0
"""What a job may take besides drawing: to begin, and to keep its outcome while the store fails."""


def utc_now() -> dt.datetime:
    """The wall clock."""
    return dt.datetime.now(dt.UTC)


class Built(Struct, frozen=True, kw_only=True):
    """What the settings make: the gateway, and what an operator asks."""

    gateway: Gateway
    key_ring: KeyRing
    workshop: Workshop
    letterbox: Callable[[], Letterbox]
    """Gives the one letterbox, late as the administration."""
    takes_messages: bool
    """Whether there are queues from which the Functions host starts functions."""
    administration: Callable[[], Administration]
    """Gives the one administration; it is imported and made with its first call, so that no other waits for it."""


def build(settings: Settings, **parts: Any) -> Gateway:
    """Build the gateway alone (see `construct`)."""
    return construct(settings, **parts).gateway


def construct(
    settings: Settings,
    *,
    connection: Connection | None = None,
    stores: Stores | None = None,
    tables: Tables | None = None,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], dt.datetime] = utc_now,
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    chance: Callable[[], float] = random.random,
) -> Built:
    """Build everything. `tables` take the place of those of the stores. Raises SettingsError for an unusable key."""
    connection = connection or Http1Connection(connect_seconds=settings.connect_seconds)
    stores = stores or _stores(settings, connection, now, wait)
    tables = tables or stores.tables
    generator = Generator(
        Upstream(connection, _tokens(settings, connection, now), clock=clock, now=now, patience=settings.patience),
        Cooling(clock),
        policy=settings.policy,
        clock=clock,
        wait=wait,
        chance=chance,
    )
    jwts = None if settings.jwt is None else _verifier(settings.jwt, connection, clock, now)
    keys = _Keys(settings, tables, clock=clock, now=now)
    authenticator = Authenticator(keys.ring, jwts, now)
    governor = Governor(tables, call_seconds=settings.limits.call, now=now, wait=wait, chance=chance)
    bookkeeping = Bookkeeping(governor=governor, ledger=Ledger(tables, clock=clock, wait=wait), now=now)
    hosted = Pictures(
        stores.blobs.container(pictures.CONTAINER),
        lifetime=settings.url_lifetime,
        now=now,
        own_address=settings.storage is not None,
        public_url=settings.public_url,
    )
    jobs = Jobs(
        tables.table(JOBS),
        stores.blobs.container(BODIES_OF_JOBS),
        stores.queues.queue(JOB_QUEUE),
        now=now,
        lease=lease_of(settings.job_seconds),
    )
    results = stores.blobs.container(RESULTS)
    announcer = Announcer(stores.queues.queue(EVENTS), results)
    workshop = Workshop(
        jobs=jobs,
        authenticator=authenticator,
        catalogue=settings.catalogue,
        generator=generator,
        bookkeeping=bookkeeping,
        pictures=hosted,
        results=Pictures(results, lifetime=settings.url_lifetime, now=now),
        announcer=announcer,
        queues=stores.queues,
        job_seconds=settings.job_seconds,
        patience=Patience(first_byte=settings.job_seconds, idle=settings.patience.idle),
        clock=clock,
        wait=wait,
    )
    if isinstance(stores.queues, MemoryQueues):  # jobs are carried out in this process
        stores.queues.queue(JOB_QUEUE).handled_by(workshop.carry_out)
    gateway = Gateway(
        authenticator=authenticator,
        catalogue=settings.catalogue,
        bookkeeping=bookkeeping,
        studio=Studio(
            generator,
            limits=settings.limits,
            heartbeat_seconds=settings.heartbeat_seconds,
            clock=clock,
            wait=wait,
        ),
        pictures=hosted,
        once=Once(
            tables.table(once.TABLE),
            stores.blobs.container(once.CONTAINER),
            now=now,
            lease=dt.timedelta(seconds=settings.limits.call + settings.limits.attempt) + LEASE_SLACK,
        ),
        orders=Orders(jobs, authenticator, governor, job_seconds=settings.job_seconds),
    )
    return Built(
        gateway=gateway,
        key_ring=keys.ring,
        workshop=workshop,
        letterbox=cache(lambda: _letterbox(jobs, workshop)),
        takes_messages=settings.storage is not None,
        administration=cache(lambda: _administration(keys, authenticator, governor, tables, now)),
    )


def _stores(
    settings: Settings,
    connection: Connection,
    now: Callable[[], dt.datetime],
    wait: Callable[[float], Awaitable[None]],
) -> Stores:
    def tokens(client_id: str | None) -> TokenSource:
        return _identity(settings, connection, now, client_id=client_id, resource=STORAGE)

    return Stores(settings.storage, connection, tokens, now=now, wait=wait)


class _Keys:
    """The keys of the setting and of the store, with the cache that calls are answered from."""

    def __init__(
        self, settings: Settings, tables: Tables, *, clock: Callable[[], float], now: Callable[[], dt.datetime]
    ) -> None:
        self.setting = StaticKeys(settings.keys)
        self.stored = StoredKeys(tables, now=now, taken=[key.id for key in self.setting])
        self.cached = CachedKeys(self.stored, seconds=settings.key_cache_seconds, clock=clock)
        self.ring = KeyRing(self.setting, self.stored, self.cached)


def _administration(
    keys: _Keys, authenticator: Authenticator, governor: Governor, tables: Tables, now: Callable[[], dt.datetime]
) -> Administration:
    from core.administration.administration import Administration  # noqa: PLC0415 -- late, see Built
    from core.administration.keys import Keys  # noqa: PLC0415
    from core.administration.usage import Usage  # noqa: PLC0415
    from core.governance.usage import UsageReports  # noqa: PLC0415

    return Administration(
        authenticator=authenticator,
        keys=Keys(keys.setting, keys.stored, keys.cached, tables.table(COUNTERS), now),
        usage=Usage(governor, UsageReports(tables)),
        now=now,
    )


def _letterbox(jobs: Jobs, workshop: Workshop) -> Letterbox:
    from core.letters import Letterbox  # noqa: PLC0415 -- late, see Built

    return Letterbox(jobs, workshop)


def report(settings: Settings) -> list[str]:
    """What an operator would want to know at the start: not wrong, but perhaps not meant."""
    lines = []
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


def _tokens(settings: Settings, connection: Connection, now: Callable[[], dt.datetime]) -> TokenSource:
    client_id = None if settings.identity is None else settings.identity.client_id
    return _identity(settings, connection, now, client_id=client_id, resource=AZURE_OPENAI)


def _identity(
    settings: Settings,
    connection: Connection,
    now: Callable[[], dt.datetime],
    *,
    client_id: str | None,
    resource: str,
) -> TokenSource:
    if settings.identity is None:
        return NoIdentity()
    return ManagedIdentity(
        connection,
        endpoint=settings.identity.endpoint,
        header=settings.identity.header,
        client_id=client_id,
        time=lambda: now().timestamp(),
        resource=resource,
    )


def _verifier(
    settings: JwtSettings, connection: Connection, clock: Callable[[], float], now: Callable[[], dt.datetime]
) -> JwtVerifier:
    from core.jwt_setup import verifier  # noqa: PLC0415 -- many apps take virtual keys only

    return verifier(settings, connection, clock, now)
