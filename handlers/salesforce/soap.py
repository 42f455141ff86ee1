"""Undelete: the one call that the REST API does not have. SOAP wants the token inside of the envelope."""

from collections.abc import Sequence
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

from guard.core.model import Change, Outcome, Status
from handlers.base import Call, Reply
from handlers.salesforce.answers import failed, no_answer
from handlers.salesforce.names import VERSION, canonical_id

PATH = f"/services/Soap/u/{VERSION}"

_PARTNER = "urn:partner.soap.sforce.com"
_ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
_HEADERS = {"content-type": "text/xml; charset=utf-8", "accept": "text/xml", "soapaction": '""'}


def undelete(ids: Sequence[str]) -> Call:
    """Not repeatable: a second one answers that there is nothing to bring back. The token is put in by `signed`."""
    return Call(method="POST", path=PATH, body={"undelete": list(ids)})


def signed(call: Call, token: str) -> Call:
    ids = "".join(f"<ids>{escape(id_)}</ids>" for id_ in call.body["undelete"])
    envelope = (
        f'<?xml version="1.0" encoding="UTF-8"?><e:Envelope xmlns:e="{_ENVELOPE}" xmlns="{_PARTNER}">'
        f"<e:Header><SessionHeader><sessionId>{escape(token)}</sessionId></SessionHeader></e:Header>"
        f"<e:Body><undelete>{ids}</undelete></e:Body></e:Envelope>"
    )
    return Call(method=call.method, path=call.path, body=envelope.encode(), headers=_HEADERS)


def is_soap(reply: Reply) -> bool:
    return reply.body.lstrip()[:1] == b"<"


def is_expired(reply: Reply) -> bool:
    return reply.status == 500 and is_soap(reply) and b"INVALID_SESSION_ID" in reply.body


def undeleted(changes: Sequence[Change], reply: Reply) -> list[Outcome]:
    """What the answer to an undelete says of each record; they stand in the order of the request."""
    body = _body(reply)
    if body is None:
        return [no_answer()] * len(changes)
    if reply.status == 500 and body.find(f"{{{_ENVELOPE}}}Fault") is not None:
        return [no_answer("vendor_error")] * len(changes)
    results = body.findall(f"{{{_PARTNER}}}undeleteResponse/{{{_PARTNER}}}result")
    if reply.status != 200 or len(results) != len(changes):
        return [no_answer()] * len(changes)
    return [_told(change, result) for change, result in zip(changes, results, strict=True)]


def _body(reply: Reply) -> ET.Element | None:
    """The body of an envelope; None: it is none."""
    if b"<!" in reply.body:  # no entities: some are made to fill the memory
        return None
    try:
        return ET.fromstring(reply.body).find(f"{{{_ENVELOPE}}}Body")  # noqa: S314 - see above
    except ET.ParseError:
        return None


def _told(change: Change, result: ET.Element) -> Outcome:
    def text(element: ET.Element, name: str) -> str:
        return (element.findtext(f"{{{_PARTNER}}}{name}") or "").strip()

    if text(result, "success") == "true" and canonical_id(text(result, "id")) == change.origin:
        return Outcome(status=Status.APPLIED, id=change.origin)
    if text(result, "success") == "false":
        errors = result.findall(f"{{{_PARTNER}}}errors")
        return failed([{"statusCode": text(each, "statusCode"), "message": text(each, "message")} for each in errors])
    return no_answer()
