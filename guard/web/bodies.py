"""Bodies as they come in: in parts, from a caller that must not take for ever."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect, Request

from guard.core.errors import Refused
from guard.core.limits import BODY_PAUSE_MAX_S


async def parts(request: Request) -> AsyncIterator[bytes]:
    """Raises Refused where the caller hangs up, or pauses for too long."""
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(BODY_PAUSE_MAX_S):
                part = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError:
            detail = f"No part of the body came for {BODY_PAUSE_MAX_S:.0f} s. Nothing was written."
            raise Refused("invalid_body", detail) from None
        except ClientDisconnect:
            detail = "The caller hung up before the body was complete. Nothing was written."
            raise Refused("invalid_body", detail) from None
        yield part
