"""What the handler knows of one HubSpot account: its names for custom objects, and the properties that were read."""

import re
from collections.abc import Mapping

from guard.core.errors import Unavailable
from handlers.hubspot.names import LINKS, STANDARD, is_custom
from handlers.hubspot.properties import Properties


class Account:
    def __init__(self, named: str) -> None:
        """named: "cars=2-1001 pets=2-1002". Raises ValueError."""
        self.types: Mapping[str, str] = dict(each.partition("=")[::2] for each in named.split())
        for name, type_id in self.types.items():
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or not is_custom(type_id) or name in (*STANDARD, LINKS):
                raise ValueError('objects must be like "cars=2-1001 pets=2-1002"; no standard object among them')
        self.names: Mapping[str, str] = {type_id: name for name, type_id in self.types.items()}
        self.properties: dict[str, Properties] = {}

    def path(self, resource: str) -> str:
        """The name by which HubSpot knows an object type."""
        return self.types.get(resource, resource)

    def known(self, resource: str) -> Properties:
        """Raises Unavailable where its definitions were not read."""
        if resource not in self.properties:
            detail = f"HubSpot's definitions of {resource} were not read. Nothing was written; try again."
            raise Unavailable("target_unavailable", detail)
        return self.properties[resource]
