"""Scenarios that run all the time, from several threads and through both doors, whatever becomes of Guard meanwhile.

Each thread has contacts of its own, so that what a contact holds at the end depends on no race between threads.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Self

import httpx2

from scenarios.sandboxes.highlevel_seed import JOB_TITLE, LOCATION_ID

_PAUSE_S = 0.02


class Load:
    """`with Load(…) as load:` runs the threads. `done` counts answers by their status, 0 for none."""

    def __init__(
        self, client: Callable[[], httpx2.Client], contacts: Sequence[str], *, threads: int, seed: str
    ) -> None:
        self._client = client
        self._stop = threading.Event()
        self.done: Counter[int] = Counter()
        share = len(contacts) // threads
        parts = [contacts[n * share : (n + 1) * share] for n in range(threads)]
        self._threads = [
            threading.Thread(target=self._run, args=(n, list(part), random.Random(f"{seed} {n}")), daemon=True)  # noqa: S311
            for n, part in enumerate(parts)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, number: int, mine: list[str], rng: random.Random) -> None:
        step = 0
        with self._client() as http:
            while not self._stop.is_set():
                step += 1
                method, path, body = _request(rng, mine, f"{number}-{step}")
                self._send(http, method, path, body, f"{number}-{step}", rng)

    def _send(self, http: httpx2.Client, method: str, path: str, body: Any, key: str, rng: random.Random) -> None:
        """As scenarios do: some repeat what was not answered, under its key; some go on; some take it back."""
        for _ in range(rng.choice((1, 1, 3, 10))):
            if self._stop.is_set():
                return
            try:
                reply = http.request(method, path, json=body, headers={"idempotency-key": key})
            except httpx2.TransportError:
                self.done[0] += 1
                self._stop.wait(_PAUSE_S * rng.randint(1, 20))
                continue
            self.done[reply.status_code] += 1
            if rng.random() < 0.15:
                self._take_back(http, reply)
            return

    def _take_back(self, http: httpx2.Client, reply: httpx2.Response) -> None:
        told = reply.headers.get("guard-revert-url") or (reply.json().get("revert_url") if reply.content else None)
        if told:
            try:
                self.done[http.post(told).status_code] += 1
            except httpx2.TransportError:
                self.done[0] += 1
                time.sleep(_PAUSE_S)


def _request(rng: random.Random, mine: list[str], name: str) -> tuple[str, str, Any]:
    """Any of the doors' requests on some of the thread's own contacts; `name` is in no other's."""
    some = rng.sample(mine, rng.randint(1, len(mine)))
    tag = f"tag {rng.randint(1, 9)}"
    fields = {"city": f"City {name}", "customFields": [{"id": JOB_TITLE, "field_value": f"Title {name}"}]}
    bulk = {"target": "crm", "resource": "contacts"}
    match rng.randrange(7):
        case 0 | 1:
            return (
                "POST",
                "/v1/operations",
                {**bulk, "action": "update", "records": [_of(i, fields=fields) for i in some]},
            )
        case 2:
            action = rng.choice(("tags.add", "tags.remove"))
            return "POST", "/v1/operations", {**bulk, "action": action, "records": [_of(i, tags=[tag]) for i in some]}
        case 3:
            people = [{"fields": {"email": f"{name}-{n}@example.net", "firstName": "New"}} for n in range(3)]
            return "POST", "/v1/operations", {**bulk, "action": "create", "records": people}
        case 4:
            return "PUT", f"/to/crm/contacts/{some[0]}", {"firstName": f"First {name}", "city": f"City {name}"}
        case 5:
            return "POST", "/to/crm/contacts/", {"email": f"{name}@example.org", "locationId": LOCATION_ID}
        case _:
            return "POST", f"/to/crm/contacts/{some[0]}/tags", {"tags": [tag]}


def _of(id_: str, **members: Any) -> dict[str, Any]:
    return {"id": id_, **members}
