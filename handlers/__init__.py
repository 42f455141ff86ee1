"""The registry of systems. docs/add-a-handler.md: one file, one line here, one in the conformance suite."""

from handlers.bamboohr import BambooHR
from handlers.base import Handler
from handlers.highlevel import HighLevel
from handlers.hubspot import HubSpot
from handlers.keap import Keap
from handlers.rest import Rest
from handlers.salesforce import Salesforce
from handlers.tryton import Tryton

_KINDS: tuple[type[Handler], ...] = (BambooHR, HighLevel, HubSpot, Keap, Rest, Salesforce, Tryton)
HANDLERS: dict[str, type[Handler]] = {handler.name: handler for handler in _KINDS}
