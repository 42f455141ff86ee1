"""The pace: how long a vendor's Retry-After holds everybody off, in whichever form it comes."""

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from guard.target.pace import Pace, TooLong
from handlers.base import Limits

LIMITS = Limits(requests=100, per_s=10.0, concurrency=4)


def paused(retry_after: str) -> Pace:
    pace = Pace(LIMITS, None)
    pace.pause({"retry-after": retry_after})
    return pace


async def wait_told(pace: Pace) -> float:
    """Seconds that a caller would have to wait, of a pause too long to be sat out."""
    with pytest.raises(TooLong) as told:
        async with pace:
            pass
    return float(str(told.value).split(" in ")[1].split()[0])


async def test_seconds_are_waited_for() -> None:
    assert 119 <= await wait_told(paused("120")) <= 120


async def test_a_date_is_understood() -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=300), usegmt=True)
    assert 298 <= await wait_told(paused(at)) <= 300


@pytest.mark.parametrize("text", ["", "soon", "-5", "Mon, 01 Jan 2024 00:00:00 GMT", "Mon, 99 Foo 2024", "\x00", "1e9"])
def test_what_tells_nothing_means_one_window(text: str) -> None:
    pace = paused(text)
    assert 9.5 < pace._wait_s(time.monotonic()) <= 10
