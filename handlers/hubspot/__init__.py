"""HubSpot CRM API, v3 objects and v4 associations: contacts, companies, deals, tickets, custom objects, their links.

Sources: the vendor's OpenAPI files (HubSpot/HubSpot-public-api-spec-collection) and its documentation.
docs/handlers/hubspot.md lists what is not verified, and why being wrong there loses nothing. A hundred records a call,
both ways; what became of each stands in the answer.

    handler.py     the class: what both doors ask for, and which of the others answers
    names.py       object types, ids, HubSpot's own requests
    account.py     what is known of the account
    properties.py  which properties there are, and when two values of one are the same
    batches.py     the calls about records
    answers.py     what an answer says of each record
    links.py       associations
"""

from handlers.hubspot.handler import HubSpot

__all__ = ["HubSpot"]
