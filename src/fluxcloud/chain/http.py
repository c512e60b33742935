"""HTTP face of the chain node: `POST /rpc/<method>`, and what a supervisor asks (`/livez`, `/readyz`, `/metrics`).

Everything from outside is bounded: connections, time to send a request, its size, and how long a reader may not read.
A refusal is one `RpcError`. Where a stream has begun, the only way to report a failure is to cut the connection: the
client resumes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import aclosing

from aiohttp import web

from ..codec import encode
from ..errors import Rejected
from ..rpc import RpcError
from ..status import render_page
from .config import RpcConfig
from .errors import BadRequest, Busy, Internal, RequestTooLarge, RequestTooSlow, UnknownMethod
from .service import STREAMS, Service

log = logging.getLogger(__name__)

BODY_TIMEOUT_S = 10.0
WRITE_TIMEOUT_S = 20.0
_STATUS: dict[type[Rejected], int] = {UnknownMethod: 404, RequestTooSlow: 408, RequestTooLarge: 413}
_OVERLOADED = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: "


class RpcServer:
    """Listens from `start` to `stop`."""

    def __init__(self, config: RpcConfig, service: Service) -> None:
        self._config = config
        self._service = service
        self._server: asyncio.Server | None = None
        self._web: _BoundedServer | None = None

    async def start(self) -> int:
        """Begin to listen; the port, which the system chose where it is configured as 0. Raises OSError."""
        self._web = _BoundedServer(self._handle, self._config)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._web, self._config.host, self._config.port, backlog=512)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        if self._server is not None and self._web is not None:
            self._server.close()
            await self._web.shutdown(timeout=0.2)
            await self._server.wait_closed()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            if request.path.startswith("/rpc/"):
                if request.method != "POST":
                    return _render_error(UnknownMethod(f"{request.method} is not taken here; use POST"), 405)
                return await self._answer(request, request.path.removeprefix("/rpc/"))
            return self._answer_supervisor(request)
        except Rejected as error:
            return _render_error(error, _STATUS.get(type(error), 503 if isinstance(error, Busy) else 400))
        except ConnectionError:
            return web.Response()  # to nobody: the client has left
        except Exception:
            log.exception("request failed", extra={"fields": {"path": request.path, "peer": request.remote}})
            return _render_error(Internal(), 500)

    async def _answer(self, request: web.BaseRequest, method: str) -> web.StreamResponse:
        body = await self._read_body(request)
        async with aclosing(self._service.stream(method, body)) as frames:
            first = await anext(frames)
            if method not in STREAMS:
                return web.Response(body=_frame(first), content_type="application/octet-stream")
            response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
            await response.prepare(request)
            try:
                await _send(response, first)
                async for frame in frames:
                    await _send(response, frame)
            except (Rejected, TimeoutError) as error:
                log.info(
                    "follower cut off method=%s peer=%s reason=%s", method, request.remote, error or "reads too slowly"
                )
                if request.transport is not None:
                    request.transport.abort()
            except ConnectionError:
                pass  # the follower has left
            return response

    async def _read_body(self, request: web.BaseRequest) -> bytes:
        limit = self._config.request_kib_max * 1024
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                async for part in request.content.iter_any():
                    parts.append(part)
                    size += len(part)
                    if size > limit:
                        raise RequestTooLarge(f"the body is longer than {limit} bytes")
        except TimeoutError:
            raise RequestTooSlow(f"the body did not arrive within {BODY_TIMEOUT_S:.0f} s") from None
        except web.RequestPayloadError as error:
            raise BadRequest(f"the body can't be read: {error}") from error
        return b"".join(parts)

    def _answer_supervisor(self, request: web.BaseRequest) -> web.Response:
        page = None
        if request.method in ("GET", "HEAD"):
            page = render_page(request.path, self._service.find_missing, self._service.render_metrics)
        if page is None:
            return _render_error(UnknownMethod(f"there is no {request.method} {request.path[:64]} here"), 404)
        return web.Response(status=page[0], text=page[1])


class _BoundedServer(web.Server):
    """Refuses connections over the limit, at once and in the words of HTTP."""

    def __init__(self, handler: Callable[[web.BaseRequest], object], config: RpcConfig) -> None:
        super().__init__(
            handler,  # type: ignore[arg-type]
            handler_cancellation=True,
            access_log=None,
            keepalive_timeout=config.idle_s,
            max_line_size=1_024,
            max_field_size=2_048,
            max_headers=32,
            lingering_time=0,
            auto_decompress=False,
        )
        self._connections_max = config.connections_max

    def __call__(self) -> asyncio.BaseProtocol:  # type: ignore[override]
        if len(self._connections) >= self._connections_max:
            return _Refusal()
        return super().__call__()


class _Refusal(asyncio.Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        body = _encode_error(Busy("the chain node has as many connections as it takes; try again later"))
        transport.write(_OVERLOADED + str(len(body)).encode() + b"\r\n\r\n" + body)
        transport.close()


def _frame(raw: bytes) -> bytes:
    return len(raw).to_bytes(4, "big") + raw


async def _send(response: web.StreamResponse, raw: bytes) -> None:
    """Raises TimeoutError where the reader doesn't read."""
    async with asyncio.timeout(WRITE_TIMEOUT_S):
        await response.write(_frame(raw))


def _encode_error(error: Rejected) -> bytes:
    retry_after_ms = error.retry_after_ms if isinstance(error, Busy) else 0
    return encode(RpcError(code=error.code, message=error.message, retry_after_ms=retry_after_ms))


def _render_error(error: Rejected, status: int) -> web.Response:
    return web.Response(status=status, body=_encode_error(error), content_type="application/octet-stream")
