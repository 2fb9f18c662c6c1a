"""What stands before the app: the limits of a connection and a request, and one line of log for each."""

import asyncio
import json
import re
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from fastapi import HTTPException
from fastapi.datastructures import Headers
from fastapi.responses import JSONResponse
from h11 import IDLE
from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_BODY = 2**20  # bytes
HEAD_SECONDS = 10.0  # until all that stands before a body has come
BODY_SECONDS = 10.0  # until all of a body has come
LAST_SECONDS = 1.0  # for a request that is under way on an idle connection when the server ends
CLOSE = (b"connection", b"close")
App = Callable[..., Any]


class Connection(H11Protocol):
    """uvicorn's, which would wait for ever for the head of a request: it is closed when that takes too long."""

    late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def shutdown(self) -> None:
        """Called when the server ends. An idle connection waits a moment: its client may just have sent a request."""
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(LAST_SECONDS, self._close)
        else:
            super().shutdown()

    def _close(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()

    def _watch(self) -> None:
        waits = self.conn.their_state is IDLE
        if waits and not self.late:
            self.late = self.loop.call_later(HEAD_SECONDS, self.transport.close)
        elif self.late and not waits:
            self.late.cancel()
            self.late = None


class Guard:
    """ASGI middleware: refuses what is no JSON of a sensible size, and logs each request without its payload.

    `seen` is called with path, status and seconds of each request.
    """

    def __init__(self, app: App, seen: Callable[[str, int, float], None]) -> None:
        self.app, self.seen = app, seen

    async def __call__(self, scope: Any, receive: App, send: App) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status, headers = time.perf_counter(), 500, Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if re.fullmatch(r"[\w.-]{1,64}", given, re.ASCII) else uuid4().hex
        said = scope.setdefault("state", {})
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "method": scope["method"]}

        async def answer(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
                if scope["app"].state.is_draining and CLOSE not in message["headers"]:
                    message["headers"].append(CLOSE)
            await send(message)

        try:
            if (scope["method"], scope["path"]) == ("POST", "/predict"):
                receive = _again(await read_json(headers, receive), receive)
            await self.app(scope, receive, answer)
        except HTTPException as refused:
            close = {"connection": "close"}  # the rest of the body is not read
            await JSONResponse({"detail": refused.detail}, refused.status_code, close)(scope, receive, answer)
        except Exception:
            line["error"] = traceback.format_exc()
            await JSONResponse({"detail": "This went wrong here; the log says why."}, 500)(scope, receive, answer)
        finally:
            seconds = time.perf_counter() - started
            self.seen(scope["path"], status, seconds)
            line |= {"path": scope["path"], "status": status, "ms": round(seconds * 1000, 2)}
            line |= {"rows": said.get("rows", 0), "model": said.get("model"), "request_id": request_id}
            print(json.dumps(line), file=sys.stderr, flush=True)


async def read_json(headers: Headers, receive: App) -> bytes:
    """A body of JSON; HTTPException when it is something else, too large or too slow."""
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "Send application/json.")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise HTTPException(415, "Send it without Content-Encoding.")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await _read(receive)
    except TimeoutError:
        raise HTTPException(408, f"The body did not come within {BODY_SECONDS:g} seconds.") from None
    try:
        json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise HTTPException(400, "The body is not JSON.") from None
    return body


async def _read(receive: App) -> bytes:
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise HTTPException(400, "The body ended early.")
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY:
            raise HTTPException(413, f"A body has at most {MAX_BODY:,} bytes.")
    return bytes(body)


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _again(body: bytes, receive: App) -> App:
    """Gives the body that was read to the app, then what else comes."""
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def replay() -> Any:
        return next(messages, None) or await receive()

    return replay
