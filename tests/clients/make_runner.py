"""Carries a blueprint's modules out as Make.com documents them, so that what it sends is seen by a real Guard.

An interpreter of what our blueprints use and no more: references, iterators and their aggregators, HTTP requests, error
routes. That Make itself does the same is what its documentation says, and not proven here.
"""

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import httpx2

from tests.clients.make_blueprint import AGGREGATORS, DIRECTIVES, REFERENCE

Send = Callable[[str, str, Mapping[str, str], bytes], Awaitable[httpx2.Response]]
Bundles = dict[int, Any]


class Stopped(Exception):
    """The scenario has ended with an error; `by` is the directive of an error route, or empty."""

    def __init__(self, why: str, by: str = "") -> None:
        super().__init__(why)
        self.by = by


class Scenario:
    def __init__(self, blueprint: Mapping[str, Any], send: Send, settings: Mapping[str, str], execution: str) -> None:
        """`settings` take the place of what the user fills in; `execution` is the execution's id."""
        self._flow: Sequence[dict[str, Any]] = blueprint["flow"]
        self._send = send
        self._settings = settings
        self._execution = execution
        self.answered: Any = None
        """What the caller of the scenario's webhook got."""
        self.on_the_way: Callable[[int], Awaitable[None]] | None = None
        """Called with a module's id in its place, before it is carried out: may do something, or raise Stopped."""

    async def run(self, payload: Any) -> Bundles:
        """Every module's last output. Raises Stopped."""
        bundles: Bundles = {self._flow[0]["id"]: payload}
        await self._carry_out(self._flow[1:], bundles)
        return bundles

    async def _carry_out(self, flow: Sequence[dict[str, Any]], bundles: Bundles) -> None:
        place = 0
        while place < len(flow):
            module = flow[place]
            if module["module"] == "builtin:BasicFeeder":
                end = next(i for i, each in enumerate(flow) if each["parameters"].get("feeder") == module["id"])
                bundles[flow[end]["id"]] = await self._aggregated(module, flow[place + 1 : end], flow[end], bundles)
                place = end + 1
                continue
            await self._module(module, bundles)
            place += 1

    async def _aggregated(
        self, feeder: dict[str, Any], inside: Sequence[dict[str, Any]], aggregator: dict[str, Any], bundles: Bundles
    ) -> Any:
        items = []
        for item in self._resolved(feeder["mapper"]["array"], bundles):
            one = {**bundles, feeder["id"]: item}
            await self._carry_out(inside, one)
            items.append(self._resolved(aggregator["mapper"], one))
        if aggregator["module"] == "builtin:BasicAggregator":
            return {"array": items}
        return {"text": aggregator["parameters"]["rowSeparator"].join(item["value"] for item in items)}

    async def _module(self, module: dict[str, Any], bundles: Bundles) -> None:
        assert module["module"] not in AGGREGATORS
        try:
            if self.on_the_way:
                await self.on_the_way(module["id"])
            bundles[module["id"]] = await self._output(module, bundles)
        except Stopped as stopped:
            if stopped.by or "onerror" not in module:
                raise
            await self._carry_out(module["onerror"], bundles)

    async def _output(self, module: dict[str, Any], bundles: Bundles) -> Any:
        if module["module"] in DIRECTIVES:
            raise Stopped("an error route has ended the scenario", by=module["module"])
        mapper = self._resolved(module["mapper"], bundles)
        match module["module"]:
            case "util:SetVariables":
                return {each["name"]: self._settings.get(each["name"], each["value"]) for each in mapper["variables"]}
            case "util:SetVariable2":
                return {mapper["name"]: mapper["value"]}
            case "json:TransformToJSON":
                return {"json": json.dumps(mapper["object"])}
            case "gateway:WebhookRespond":
                self.answered = json.loads(mapper["body"])
                return {}
            case "http:MakeRequest":
                return await self._request(mapper)
        raise AssertionError(module["module"])

    async def _request(self, mapper: Mapping[str, Any]) -> dict[str, Any]:
        headers = {each["name"]: str(each["value"]) for each in mapper["headers"]}
        if "contentType" in mapper:
            headers["Content-Type"] = "application/json"
        body = str(mapper.get("jsonStringBodyContent", "")).encode()
        answer = await self._send(mapper["method"].upper(), mapper["url"], headers, body)
        if answer.status_code >= 400 and mapper["stopOnHttpError"]:
            raise Stopped(f"[{answer.status_code}] {answer.text}")
        return {"data": answer.json(), "statusCode": answer.status_code, "headers": dict(answer.headers)}

    def _resolved(self, value: Any, bundles: Bundles) -> Any:
        if isinstance(value, dict):
            return {name: self._resolved(each, bundles) for name, each in value.items()}
        if isinstance(value, list):
            return [self._resolved(each, bundles) for each in value]
        if not isinstance(value, str):
            return value
        if whole := REFERENCE.fullmatch(value):
            return self._value(whole[1], bundles)
        return REFERENCE.sub(lambda found: _text(self._value(found[1], bundles)), value)

    def _value(self, expression: str, bundles: Bundles) -> Any:
        if expression == "var.scenario.executionId":
            return self._execution
        first, *rest = (part.strip("`") for part in re.findall(r"`[^`]+`|[^.`]+", expression))
        value = bundles[int(first)]
        for name in rest:
            value = value.get(name, "") if isinstance(value, dict) else ""
        return value


def _text(value: Any) -> str:
    assert not isinstance(value, dict | list), "a list or collection is no text: Transform to JSON comes first"
    return str(value)
