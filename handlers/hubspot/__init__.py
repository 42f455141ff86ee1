"""HubSpot CRM API, v3 objects and v4 associations: contacts, companies, deals, tickets, custom objects, their links.

Sources: the vendor's OpenAPI files (HubSpot/HubSpot-public-api-spec-collection) and its documentation.
docs/handlers/hubspot.md lists what is not verified, and why being wrong there loses nothing. A hundred records a call,
both ways; what became of each stands in the answer.

    handler.py     the class: what both doors ask for, which calls that makes, what answers mean
    names.py       object types, ids, the vendor's own requests
    properties.py  which properties there are, by the account's own definitions, and when two values are the same
    answers.py     what an answer says of each record
    links.py       associations
"""

from handlers.hubspot.handler import HubSpot

__all__ = ["HubSpot"]
