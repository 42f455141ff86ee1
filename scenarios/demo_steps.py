"""The demo's steps, as the HTTP calls that a scenario tool, people in the CRM and an operator would make."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx2

from scenarios.demo_import import Edit, Row, peoples_edits, shifted_csv
from scenarios.demo_proof import State, flat
from scenarios.demo_servers import Servers

_GOING_ON = ("accepted", "running", "reverting")
_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Timed:
    """An answer of Guard, with what it cost."""

    answer: dict[str, Any]
    seconds: float
    calls: int


class Steps:
    """What the scenario, the people and the operator do, against servers that run."""

    def __init__(self, where: Servers) -> None:
        self.where = where
        self._http = httpx2.Client(timeout=httpx2.Timeout(600, connect=5), trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    # What there is

    def contacts(self) -> list[Row]:
        return self._lines("contacts")

    def state(self) -> State:
        """Every contact and every opportunity: the latter must not change at all."""
        return {row["id"]: flat(row) for row in self.contacts() + self._lines("opportunities")}

    def _lines(self, resource: str) -> list[Row]:
        reply = self._http.get(f"{self.where.sandbox_url}/_sandbox/state/{resource}").raise_for_status()
        return [json.loads(line) for line in reply.text.splitlines()]

    # What is done

    def bulk_import(self, rows: Sequence[Row]) -> Timed:
        """The import through Guard: a CSV, sent line by line."""
        query = {"target": "crm", "resource": "contacts", "action": "update", "scenario": "candidate import"}
        headers = {"content-type": "text/csv"}
        url = f"{self.where.guard_url}/v1/operations"
        return self._timed(lambda: self._ended(url, params=query, headers=headers, content=shifted_csv(rows)))

    def people_edit(self, rows: Sequence[Row]) -> list[Edit]:
        """People's edits in the CRM itself, past Guard."""
        edits = peoples_edits(rows)
        for edit in edits:
            body = {"resource": "contacts", "id": edit.id, "fields": edit.fields}
            self._http.post(f"{self.where.sandbox_url}/_sandbox/edit", json=body).raise_for_status()
        return edits

    def plan(self, revert_url: str) -> dict[str, Any]:
        return dict(self._http.get(revert_url).raise_for_status().json())

    def revert(self, revert_url: str) -> Timed:
        return self._timed(lambda: self._ended(revert_url))

    def _timed(self, act: Callable[[], dict[str, Any]]) -> Timed:
        calls, began = self._calls(), time.monotonic()
        answer = act()
        return Timed(answer, time.monotonic() - began, self._calls() - calls)

    def _calls(self) -> int:
        """Requests that the sandbox has had as HighLevel; looking at its state is not among them."""
        reply = self._http.get(f"{self.where.sandbox_url}/_sandbox/counts").raise_for_status()
        return int(reply.json()["total"])

    def _ended(self, url: str, **request: Any) -> dict[str, Any]:
        """POST, and wait for the end where it takes longer than Guard lets a caller wait."""
        headers = {"guard-key": self.where.key, "prefer": "wait=300"}
        reply = self._http.post(url, **{**request, "headers": {**headers, **request.get("headers", {})}})
        answer = reply.raise_for_status().json()
        while answer["status"] in _GOING_ON:
            time.sleep(_POLL_S)
            answer = self._http.get(answer["run_url"], headers=headers).raise_for_status().json()
        return dict(answer)
