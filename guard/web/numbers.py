"""Numbers that JSON carries but no parser keeps: with more digits than a double has, they are rounded without a word.

A salary or an account number must be written as it was sent or not at all, so such a number is refused.
"""

import re
from decimal import Decimal

from guard.core.errors import Refused

_SUSPECT = re.compile(rb"[0-9][0-9.]{15}")
"""Up to 15 digits always survive; what is shorter need not be looked at."""
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|(-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)')


def refuse_rounded(content: bytes, where: str) -> None:
    """Raise Refused where JSON, known to be whole, holds such a number. `where` begins the sentence."""
    if not _SUSPECT.search(content):
        return
    for token in _TOKEN.finditer(content):
        if token[1] and not _is_kept(token[1].decode()):
            raise Refused(
                "invalid_body",
                f"{where} has more digits than JSON's numbers keep; it would be rounded. Send it as a text, in quotes. "
                "Nothing was written.",
            )


def _is_kept(number: str) -> bool:
    if number.lstrip("-").isdecimal():
        return -(2**63) <= int(number) < 2**64
    return Decimal(number) == Decimal(repr(float(number)))
