"""`guard scenarios check`: every scenario file read as the server reads it, and its sample tried up to the write."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from guard.core.errors import GuardError, Refused, Unavailable
from guard.core.limits import HOOK_BYTES_MAX
from guard.flows.foresee import foresee
from guard.flows.guard import Guard
from guard.flows.operation import Asked
from guard.hooks.mapping import mapped
from guard.hooks.model import Hook
from guard.hooks.places import line_of, places
from guard.hooks.reading import Known, Mistake, Unusable, read
from guard.web.hooks import records_of
from guard.web.numbers import refuse_rounded

_MEMBERS = {
    "unknown_resource": "resource",
    "unknown_action": "action",
    "irreversible": "action",
    "too_large": "records",
}
"""Where in the file it stands what an error of this code is about; of all others it is the record."""


@dataclass(slots=True)
class Checked:
    """What was found about one scenario file."""

    path: Path
    mistakes: list[Mistake] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def scenario_files(folder: Path) -> list[Path]:
    """In the order of their names."""
    return sorted(path for path in folder.glob("*.toml") if not path.name.startswith("."))


async def check(guard: Guard, path: Path, known: Known) -> Checked:
    """One scenario file. Its target is asked for its fields where it has to be; nothing is written."""
    checked = Checked(path)
    try:
        content, hook = _read(path, known)
    except Unusable as unusable:
        checked.mistakes += unusable.mistakes
    else:
        checked.notes.append(_address(guard, path, hook))
        lines = places(content.decode("utf-8-sig").replace("\r\n", "\n"))
        await _try(guard, checked, hook, lines)
    return checked


def _read(path: Path, known: Known) -> tuple[bytes, Hook]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Unusable([Mistake(str(path), 1, f"the file cannot be read ({error.strerror})")]) from None
    return content, read(str(path), content, known)


def _address(guard: Guard, path: Path, hook: Hook) -> str:
    who = f"of the client {hook.client}" if hook.client else f"of any client that may use {hook.target}"
    proof = "signed with one of its secrets" if hook.secrets else f"with the key {who}"
    return f"POST {guard.settings.server.public_url.rstrip('/')}/hooks/{path.stem}, {proof}"


async def _try(guard: Guard, checked: Checked, hook: Hook, lines: dict[tuple[str, ...], int]) -> None:
    """Map the sample, have the target look at the records, foresee what the operation would be."""
    try:
        if hook.sample is None:
            checked.notes.append("It has no sample, so only the file was checked, not what it makes of a payload.")
            await guard.target(hook.target).resource(hook.resource)
            return
        payload = _sample(checked.path, hook.sample)
        records, run_key = mapped(hook, payload)
        checked.notes.append(f"Its sample: {hook.action} {len(records)} of {hook.resource} in {hook.target}.")
        checked.notes.append(f"The first record: {orjson.dumps(records[0]).decode()}")
        if run_key:
            checked.notes.append(f"The run key: {run_key}")
        await _foresee(guard, checked, hook, records)
    except _BadSample as bad:
        where = line_of(("sample",), lines)
        checked.mistakes.append(bad.mistake or Mistake(str(checked.path), where, str(bad), "sample"))
    except GuardError as error:
        _explain(checked, lines, error)


async def _foresee(guard: Guard, checked: Checked, hook: Hook, records: list[Any]) -> None:
    known = await records_of(guard, hook, records)
    asked = Asked(
        client="check", target=hook.target, resource=hook.resource, action=hook.action, door="hook", digest="check"
    )
    told = await foresee(guard, asked, known)
    if told["needs_accept_irreversible"]:
        reasons = " ".join(told["reversible_reasons"])
        if not (hook.accept_irreversible or guard.policy(hook.target).accept_irreversible):
            raise Refused("irreversible", f"every call will be refused, for it cannot be taken back whole: {reasons}")
        checked.notes.append(f"It cannot be taken back whole, which is accepted: {reasons}")
    else:
        checked.notes.append("It can be taken back whole.")


def _explain(checked: Checked, lines: dict[tuple[str, ...], int], error: GuardError) -> None:
    if isinstance(error, Unavailable) or error.code == "target_refused":
        checked.notes.append(f"The target could not be asked, so its fields were not checked: {error.detail}")
        return
    member = str(error.members.get("member") or _MEMBERS.get(error.code, "record"))
    said = error.detail.partition(" Nothing was written")[0]
    checked.mistakes.append(Mistake(str(checked.path), line_of(member.split("."), lines), said, member))


class _BadSample(Exception):
    def __init__(self, said: str, mistake: Mistake | None = None) -> None:
        super().__init__(said)
        self.mistake = mistake


def _sample(path: Path, given: str | dict[str, Any]) -> Any:
    if isinstance(given, dict):
        return orjson.loads(orjson.dumps(given))  # dates of TOML become texts, as JSON has them
    beside = path.parent / given
    if Path(given).name != given:
        raise _BadSample(f"it must be the name of a file in the same folder, not a path: {given!r}")
    try:
        with beside.open("rb") as file:
            content = file.read(HOOK_BYTES_MAX + 1)
    except OSError as error:
        raise _BadSample(f"the file {given} cannot be read ({error.strerror})") from None
    if len(content) > HOOK_BYTES_MAX:
        raise _BadSample(f"the file {given} is larger than a payload may be ({HOOK_BYTES_MAX // 1024} KiB)")
    try:
        payload = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        mistake = Mistake(str(beside), error.lineno, f"this is not JSON: {error.msg}, column {error.colno}")
        raise _BadSample(str(mistake), mistake) from None
    refuse_rounded(content, f"A number in {given}")
    return payload
