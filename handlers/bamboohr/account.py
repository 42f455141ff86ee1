"""What one BambooHR account's own definitions say: which fields employees and tables have, and which are special."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from handlers.base import Reply

READ_FIELDS_MAX = 400
"""Fields that one GET of an employee answers."""

DATED_TABLES = frozenset({"jobInfo", "compensation", "employmentStatus"})

_DATED = frozenset(
    "jobTitle department division location reportsTo payRate payType payPer payPeriod paySchedule payChangeReason "
    "payRateEffectiveDate exempt overtimeRate employmentStatus employmentHistoryStatus status".split()
)
"""Known to follow from the newest row of a table, whatever the definitions of an account make of it."""

_KEPT = frozenset(
    "id age bestEmail canUploadPhoto createdByUserId departmentId displayName divisionId employmentStatusId "
    "fullName1 fullName2 fullName3 fullName4 fullName5 isPhotoUploaded jobTitleId jobTitleName lastChanged locationId "
    "photoUploaded photoUrl reportsToId reportsToName supervisor supervisorEId supervisorId".split()
)
"""Shown, and written by nobody."""

_MASKED = frozenset("ssn sin nin ein nationalId bankAccountNumber routingNumber".split())
"""Numbers that may be shown with most of their digits hidden: written back so, they would be lost. They are never
read, so no snapshot holds them either."""

_NAME = re.compile(r"[A-Za-z0-9_]{1,100}")


@dataclass(frozen=True, slots=True)
class Known:
    """The fields of employees, or of one table."""

    writable: frozenset[str]
    read: tuple[str, ...]
    """Those that a read asks for; what is writable and not among them is written blindly."""
    dated: frozenset[str] = frozenset()
    """Of an employee: those that follow from the rows of a table."""


def employees(fields: Reply, tables: Reply) -> Known | None:
    """From GET /meta/fields and GET /meta/tables; None: they do not tell."""
    by_table = _tables(tables)
    listed = _fields(fields.json()) if fields.status == 200 else None
    if not listed or by_table is None:
        return None
    ids = {id_ for table in by_table.values() for id_ in table.values()}
    names = {name for table in DATED_TABLES & set(by_table) for name in by_table[table]} | _DATED
    dated = frozenset(name for name, id_ in listed.items() if name in names or id_ in ids)
    writable = frozenset(listed) - _KEPT
    # Where there are more than one read takes, those whose undo is whole come first.
    read = sorted(writable - _MASKED, key=lambda name: (name in dated, name))
    return Known(writable, tuple(read[:READ_FIELDS_MAX]), dated)


def rows(table: str, tables: Reply) -> Known | None:
    """From GET /meta/tables; None: it does not tell, or the account has no such table."""
    by_table = _tables(tables)
    if by_table is None or not by_table.get(table):
        return None
    writable = frozenset(by_table[table]) - {"id", "employeeId"}
    return Known(writable, tuple(sorted(writable - _MASKED)))


def _tables(reply: Reply) -> Mapping[str, Mapping[str, str]] | None:
    """The fields of each table: name -> id."""
    found = reply.json()
    if reply.status != 200 or not isinstance(found, list):
        return None
    tables = {}
    for each in found:
        fields = _fields(each.get("fields")) if isinstance(each, dict) else None
        if fields is None:
            return None
        tables[str(each.get("alias"))] = fields
    return tables


def _fields(listed: Any) -> dict[str, str] | None:
    """Name -> id. A field without an alias goes by its id; parts of fields (dotted ids) and old ones are left out."""
    if not isinstance(listed, list):
        return None
    fields = {}
    for each in listed:
        if not isinstance(each, dict) or not isinstance(id_ := each.get("id"), str | int):
            return None
        name = str(each.get("alias") or id_)
        if _NAME.fullmatch(name) and each.get("deprecated") is not True:
            fields[name] = str(id_)
    return fields
