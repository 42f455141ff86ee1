"""Real servers for tests, on free ports of 127.0.0.1: processes, applications in a thread, a proxy with faults."""

import asyncio
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import uvicorn
from starlette.types import ASGIApp

_START_TIMEOUT_S = 60.0
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test-access-key",
    "AWS_SECRET_ACCESS_KEY": "test-secret-key",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Of every S3 server that tests share, so that the environment of one fits the other."""


@dataclass(frozen=True)
class S3Server:
    """An S3 endpoint. `environment` holds the credentials, for this process or one that a test starts."""

    endpoint_url: str
    environment: Mapping[str, str]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """MiniStack, with nothing in it and nothing kept."""
    with s3_server_process() as (server, _):
        yield server


@contextmanager
def s3_server_process() -> Iterator[tuple[S3Server, subprocess.Popen[bytes]]]:
    """The same, with its process, for tests that freeze it."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "S3_PERSIST": "0", "LOG_LEVEL": "WARNING"}
    with process([str(Path(sys.executable).parent / "ministack")], settings, f"{url}/_ministack/health") as made:
        yield S3Server(url, CREDENTIALS), made


@contextmanager
def process(
    command: list[str], settings: Mapping[str, str], ready_url: str | None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process, once it answers at ready_url if there is one; it is stopped at the end, whatever happened."""
    with tempfile.TemporaryFile() as output:
        running = subprocess.Popen(command, env={**os.environ, **settings}, stdout=output, stderr=output)  # noqa: S603
        try:
            if ready_url and not _is_ready(running, ready_url):
                output.seek(0)
                raise RuntimeError(f"{command[0]} does not start: {output.read()[-2000:].decode()}")
            yield running
        finally:
            running.terminate()
            try:
                running.wait(10)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


def _is_ready(running: subprocess.Popen[bytes], url: str) -> bool:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and running.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310 - an address of ours
                return True
        except OSError:
            time.sleep(0.05)
    return False


@contextmanager
def application(app: ASGIApp) -> Iterator[str]:
    """The URL of an application served by uvicorn in a thread."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.005)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@dataclass(frozen=True)
class Request:
    head: str
    body: bytes

    @property
    def method(self) -> str:
        return self.head.partition(" ")[0]


Fault = Callable[["FaultyProxy", Request], Awaitable[bytes]]


class FaultyProxy:
    """Passes HTTP requests on, except that the next request of a method meets the next of its faults.

    A fault returns the bytes that the client gets for an answer before the connection is closed, b"" for none.
    """

    def __init__(self, upstream_url: str) -> None:
        self._upstream = upstream_url.removeprefix("http://").split(":")
        self._tasks: set[asyncio.Task[None]] = set()
        self.faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self.seen: list[Request] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.seen]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            request = await read_request(reader)
            self.seen.append(request)
            faults = self.faults[request.method]
            writer.write(await (faults.popleft() if faults else FaultyProxy.forward)(self, request))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has gone
        except asyncio.CancelledError:
            pass  # the test is over; a stream's callback would report it as an error
        finally:
            writer.close()
            self._tasks.discard(task)

    async def forward(self, request: Request) -> bytes:
        reader, writer = await asyncio.open_connection(*self._upstream)
        try:
            head = re.sub(r"(?im)^connection:.*\r\n", "", request.head).replace("\r\n", "\r\nConnection: close\r\n", 1)
            writer.write(head.encode() + request.body)
            return await reader.read()
        finally:
            writer.close()


async def read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    lengths = [line for line in head.lower().split("\r\n") if line.startswith("content-length:")]
    length = int(lengths[0].split(":")[1]) if lengths else 0
    return Request(head, await reader.readexactly(length))
