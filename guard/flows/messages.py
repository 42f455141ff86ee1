"""What places are told of a run's end: its numbers and addresses, in words or as members; never what records hold."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from guard.core.entries import Event
from guard.core.lifecycle import OperationState, RunState

_NAME_CHARS_MAX = 100
_MEMBERS = (
    "id kind status target resource action scenario client opened_at reversible revert_url revert_expires_at run_url "
    "reverts reverted_by problem_code"
).split()
"""Of the flat answer, besides its numbers. Sentences of errors and notes may quote a record, so they stay out."""

_LED = {
    "applied": "was carried out",
    "partial": "was carried out in part",
    "failed": "came to nothing",
    "stopped": "was stopped before its end",
    "reverted": "took everything back",
    "partly_reverted": "took back a part",
}
_LED_OF_CHECKPOINT = {
    "applied": "was sealed",
    "partial": "was sealed in part",
    "stopped": "was never sealed, and is given up",
    "failed": "could not be taken",
}
_SAID_OF_CHECKPOINT = {
    "records_applied": "changed between checkpoint and seal",
    "records_unchanged": "unchanged",
    "records_in_doubt": "could not be read",
}
_SAID = {
    "records_applied": "written",
    "records_failed": "not written",
    "records_in_doubt": "in doubt: sent, and the outcome is not known",
    "records_implied": "more changed by the system itself",
}
_SAID_OF_REVERT = {
    "records_restored": "taken back",
    "records_already": "as before already",
    "records_conflicted": "left alone: changed by others since",
    "records_irreversible": "cannot be taken back",
    "records_in_doubt": "in doubt",
    "records_failed": "did not work",
}


def ends_of(operation: OperationState) -> set[str]:
    """How an operation has ended, in the words of the setting `notify.on`."""
    ends = {str(operation.ended["status"])}
    return ends | {"in_doubt"} if operation.count("unknown") + operation.unsettled() else ends


def revert_status(state: RunState) -> str:
    """How a revert has ended, from its own journal."""
    return revert_came_to([operation.ended for operation in state.operations.values()])


def revert_came_to(ended: Sequence[Event]) -> str:
    """The same from the events that ended its operations."""
    verdicts = [each.get("verdicts", {}) for each in ended]
    if all(each["status"] == "failed" for each in ended):
        return "failed"
    left = any(known.get(name) for known in verdicts for name in ("conflicted", "irreversible", "in_doubt", "failed"))
    return "partly_reverted" if left or any("problem" in each for each in ended) else "reverted"


def webhook_message(told: Mapping[str, Any]) -> bytes:
    """The flat answer without its lists and sentences."""
    kept = {name: told[name] for name in _MEMBERS if name in told}
    return orjson.dumps({**kept, **{name: value for name, value in told.items() if name.startswith("records_")}})


def slack_message(told: Mapping[str, Any], page_url: str) -> bytes:
    """The body of an incoming webhook. https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks"""
    revert = told["kind"] == "revert"
    look, back = f"<{_link(page_url)}|Look at the run>", "Do it again" if revert else "Take it back"
    lines = [
        f"*{_headline(told, revert=revert)}*",
        _numbers(told, _SAID_OF_REVERT if revert else _said(told)),
        f"{look} · <{_link(told['revert_url'])}|{back}>",
    ]
    return orjson.dumps({"text": "\n".join(lines), "unfurl_links": False})


def _headline(told: Mapping[str, Any], *, revert: bool) -> str:
    who = f"The scenario “{plain(told['scenario'])}”" if told["scenario"] else "A scenario's run"
    if revert:
        who = "A revert"
    where = f" on {plain(told['target'])}" if told["target"] else ""
    led = _LED
    if told["action"] == "checkpoint":
        who, led = f"The checkpoint of {who[0].lower()}{who[1:]}", _LED_OF_CHECKPOINT
    return f"Guard: {who}{where} {led.get(told['status'], 'has ended')}"


def _said(told: Mapping[str, Any]) -> Mapping[str, str]:
    """Of a checkpoint's records nobody knows who changed them."""
    if told["action"] == "checkpoint":
        return _SAID_OF_CHECKPOINT
    return (
        {**_SAID, "records_applied": "written, or changed between checkpoint and seal"}
        if "checkpoint" in told
        else _SAID
    )


def _numbers(told: Mapping[str, Any], said: Mapping[str, str]) -> str:
    parts = [f"{told[name]:,} {words}" for name, words in said.items() if told.get(name)]
    total = f"Of {told['records_total']:,} records: " if told["kind"] == "run" and parts else ""
    return f"{total}{'; '.join(parts)}." if parts else "No record was written."


def plain(text: str) -> str:
    """A caller's name for something as plain text of a chat: no mention, no link, no markup, one line, not long.

    Chats other than Slack that take its messages know more markup; an invisible space after what begins it ends it.
    """
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    cut = line if len(line) <= _NAME_CHARS_MAX else line[:_NAME_CHARS_MAX] + "…"
    return _escaped(re.sub(r"([@#:/.*_~`\[\]()!|\\])", "\\1\u200b", cut))


def _escaped(text: str) -> str:
    """https://docs.slack.dev/messaging/formatting-message-text#escaping"""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _link(url: str) -> str:
    return _escaped(url).replace("|", "%7C")
