"""Puts a Guard together from its settings: the store, proven; the targets, each with its handler."""

from guard.flows.guard import Guard
from guard.metrics import Attempted, Metrics, uncounted
from guard.queue.base import Queue
from guard.queue.opening import open_queue
from guard.settings import Settings, SettingsError, TargetSettings
from guard.store.base import Store
from guard.store.journals import Journals
from guard.store.measured import MeasuredStore
from guard.store.opening import open_store
from guard.store.probe import prove_create_once
from guard.target.access import Access
from guard.target.base import Target
from guard.target.client import Client
from guard.target.http import HttpTarget
from guard.target.pace import Pace
from guard.target.postgresql import PostgresTarget
from handlers import HANDLERS
from handlers.base import Limits

DATABASES: dict[str, type[PostgresTarget]] = {"postgresql": PostgresTarget}
"""Kinds of target that are no vendor's API, and so have no handler."""


def assemble(settings: Settings) -> Guard:
    """Raises SettingsError. Nothing is contacted yet."""
    metrics = Metrics()
    targets = {name: make_target(name, each, metrics.vendor(name)) for name, each in settings.targets.items()}
    journals = Journals(MeasuredStore(make_store(settings), metrics), watch=metrics.journaled)
    return Guard(settings, journals, targets, make_queue(settings), metrics)


async def assemble_proven(settings: Settings) -> Guard:
    """Like assemble, and refuse to work on a store that does not keep what the journal rests on. Raises StoreNotFit."""
    guard = assemble(settings)
    try:
        await prove_create_once(guard.journals.store)
    except BaseException:
        await guard.close()
        raise
    return guard


def make_store(settings: Settings) -> Store:
    store = settings.store
    try:
        return open_store(store.url, endpoint_url=store.endpoint_url, region=store.region)
    except ValueError as error:
        raise SettingsError(f"store.url: {error}") from None


def make_queue(settings: Settings) -> Queue:
    queue = settings.queue
    try:
        return open_queue(queue.url, endpoint_url=queue.endpoint_url, region=queue.region)
    except ValueError as error:
        raise SettingsError(str(error)) from None


def make_target(name: str, settings: TargetSettings, attempted: Attempted = uncounted) -> Target:
    if database := DATABASES.get(settings.handler):
        url = settings.credential.get_secret_value()
        return database(name, url, timeout_s=settings.timeout_s)
    return _http_target(name, settings, attempted)


def _http_target(name: str, settings: TargetSettings, attempted: Attempted) -> HttpTarget:
    if settings.handler not in HANDLERS:
        known = ", ".join(sorted([*HANDLERS, *DATABASES]))
        raise SettingsError(f"targets.{name}.handler: there is no handler {settings.handler!r}; there are {known}")
    kind = HANDLERS[settings.handler]
    odd = [option for option, value in settings.options.items() if not isinstance(value, str)]
    if odd and not kind.structured_options:
        raise SettingsError(f"targets.{name}.options.{odd[0]}: it must be a text, in quotes")
    try:
        handler = kind(settings.options)
    except ValueError as error:
        raise SettingsError(f"targets.{name}.options: {error}") from None
    if not (settings.base_url or handler.base_url):
        raise SettingsError(f"targets.{name}.base_url: {settings.handler} has no address of its own; name the system's")
    limits = Limits(**settings.limits.model_dump()) if settings.limits else handler.traits.limits
    pace = Pace(limits, None if settings.limits else handler.traits.limit_headers)
    access = Access(handler, settings.credential.get_secret_value())
    client = Client(settings.base_url or handler.base_url, access, pace, settings.timeout_s, attempted)
    return HttpTarget(name, handler, client)
