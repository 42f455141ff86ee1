"""A connection to PostgreSQL that is cut when a transaction commits."""

import asyncio
import tempfile
from pathlib import Path
from typing import Self

_SOCKET = ".s.PGSQL.5432"
"""What libpq calls a server's socket in the folder that a URL names as its host."""
_COMMIT = b"COMMIT;\x00"


class CutAtCommit:
    """Passes everything on between clients and a server's socket, until told to cut the next commit.

    `cut`: "" not at all; "before": the server never hears of it; "after": it is done, and its answer is lost.
    `deaf`: from the cut on, nobody gets a connection any more.
    """

    def __init__(self, server: Path) -> None:
        self._server = server / _SOCKET
        self._tasks: set[asyncio.Task[None]] = set()
        self._folder = tempfile.TemporaryDirectory(prefix="guard-cut-")  # a socket's path is short
        self.cut = ""
        self.deaf = False
        self._closed = False

    @property
    def host(self) -> str:
        return self._folder.name

    async def __aenter__(self) -> Self:
        self._listening = await asyncio.start_unix_server(self._serve, Path(self.host) / _SOCKET)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listening.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._listening.wait_closed()
        self._folder.cleanup()

    def mend(self) -> None:
        self.cut, self._closed = "", False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if not self._closed:
                await self._pass_on(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # one of the two has gone, or the test is over
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_unix_connection(self._server)
        answers = asyncio.create_task(_copy(theirs, writer))
        try:
            while data := await reader.read(65536):
                cut = self.cut if _COMMIT in data else ""
                if cut:
                    self.cut, self._closed = "", self.deaf
                    answers.cancel()
                    await asyncio.wait([answers])
                if cut != "before":
                    ours.write(data)
                if cut == "after":
                    await theirs.read(1)  # it has answered, so it has committed
                if cut:
                    return
        finally:
            answers.cancel()
            ours.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the server hangs up; then the client is told so."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
