"""Associations as a HubSpot sandbox keeps them: each link seen from both of its ends.

A row of the table is what one record is linked to of one object type: id "contacts:1:companies", links as
"2/HUBSPOT_DEFINED/279". Type ids that HubSpot itself defines differ by direction; an account's own labels, too.
"""

from collections.abc import Iterable, Iterator

from scenarios.sandboxes.common import Row, Table

Link = tuple[str, str, int]
"""The other record's id, category, type id."""

HUBSPOT = "HUBSPOT_DEFINED"
PRIMARY = (HUBSPOT, 1)
_DEFAULTS = {
    ("contacts", "companies"): 279,
    ("companies", "contacts"): 280,
    ("deals", "contacts"): 3,
    ("contacts", "deals"): 4,
    ("deals", "companies"): 341,
    ("companies", "deals"): 342,
    ("contacts", "tickets"): 15,
    ("tickets", "contacts"): 16,
    ("contacts", "notes"): 201,
    ("notes", "contacts"): 202,
}
_INVERSE = {279: 280, 1: 2, 3: 4, 341: 342, 15: 16, 201: 202, 28: 29}
_INVERSE |= {other: one for one, other in _INVERSE.items()}
LABELS = {1: "Primary", 2: "Primary", 28: "Decision maker", 29: "Decides for"}


def default_type(from_: str, to: str) -> int:
    return _DEFAULTS.get((from_, to), 501)


class Links:
    """The links of all records. Whoever writes one end writes the other, too."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def of(self, from_: str, id_: str, to: str, *, stale: bool = False) -> list[Link]:
        row = self.table.get(f"{from_}:{id_}:{to}", stale=stale)
        return [_parsed(text) for text in row["links"]] if row else []

    def kinds(self, from_: str, id_: str) -> Iterator[str]:
        """The object types that this record is linked to."""
        prefix = f"{from_}:{id_}:"
        yield from [key.removeprefix(prefix) for key in self.table.rows if key.startswith(prefix)]

    def add(self, from_: str, id_: str, to: str, other: str, types: Iterable[tuple[str, int]]) -> None:
        """Trap 5: the newest company of a contact becomes its primary one."""
        wanted = {*types, (HUBSPOT, default_type(from_, to))}
        if {from_, to} == {"contacts", "companies"}:
            contact, company = (id_, other) if from_ == "contacts" else (other, id_)
            is_new = not any(known == company for known, *_ in self.of("contacts", contact, "companies"))
            if is_new or wanted & {PRIMARY, (HUBSPOT, 2)}:
                for old, category, type_id in self.of("contacts", contact, "companies"):
                    if (category, type_id) == PRIMARY:
                        self._remove("contacts", contact, "companies", old, {PRIMARY})
                wanted.add(PRIMARY if from_ == "contacts" else (HUBSPOT, 2))
        self._put(from_, id_, to, [*self.of(from_, id_, to), *((other, *each) for each in wanted)])
        there = self.of(to, other, from_)
        self._put(to, other, from_, [*there, *((id_, c, _INVERSE.get(t, t)) for c, t in wanted)])

    def remove(self, from_: str, id_: str, to: str, other: str, types: Iterable[tuple[str, int]] | None = None) -> None:
        """types None: all of them. The type without a label takes the others with it."""
        named = None if types is None else set(types)
        if named is not None and (HUBSPOT, default_type(from_, to)) in named:
            named = None
        self._remove(from_, id_, to, other, named)

    def drop(self, from_: str, id_: str) -> dict[str, list[Link]]:
        """Take away all links of a record that is deleted; gives what they were."""
        had = {to: self.of(from_, id_, to) for to in self.kinds(from_, id_)}
        for to, links in had.items():
            for other in {other for other, *_ in links}:
                self._remove(from_, id_, to, other, None)
        return had

    def _remove(self, from_: str, id_: str, to: str, other: str, types: set[tuple[str, int]] | None) -> None:
        inverse = None if types is None else {(category, _INVERSE.get(t, t)) for category, t in types}
        for one, far, two, named in ((id_, other, (from_, to), types), (other, id_, (to, from_), inverse)):
            links = self.of(two[0], one, two[1])
            kept = [each for each in links if each[0] != far or (named is not None and each[1:] not in named)]
            self._put(two[0], one, two[1], kept)

    def _put(self, from_: str, id_: str, to: str, links: Iterable[Link]) -> None:
        key, texts = f"{from_}:{id_}:{to}", sorted({"/".join(map(str, link)) for link in links})
        if texts:
            self.table.put({"id": key, "links": texts})
        elif key in self.table.rows:
            self.table.remove(key)


def _parsed(text: str) -> Link:
    other, category, type_id = text.split("/")
    return other, category, int(type_id)


def rows_of(contacts: Iterable[Row], companies: list[Row], deals: Iterable[Row]) -> list[Row]:
    """At the start: every second contact has a primary company, every fifth of them decides there; deals have one."""
    table = Table()
    links, people = Links(table), list(contacts)
    for n, person in enumerate(people[::2]):
        labels = [("USER_DEFINED", 28)] if n % 5 == 0 else []
        links.add("contacts", person["id"], "companies", companies[n % len(companies)]["id"], labels)
    for n, deal in enumerate(deals):
        links.add("deals", deal["id"], "contacts", people[(3 * n) % len(people)]["id"], [])
    return list(table.rows.values())
