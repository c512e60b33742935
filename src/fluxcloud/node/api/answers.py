"""Answers of the API: JSON, and errors as `{code, message}` with the status that fits."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web

from ...capability import BadCapability, CapabilityExpired, CapabilityRefused
from ...errors import Permanent, Rejected, Temporary
from ...images.errors import MissingBlob, StoreFull, TooBig
from ...sdk.tunnel import REASON_HEADER
from ..execute import is_disk_full

_log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_STATUS: dict[type[Rejected], int] = {
    BadCapability: 401,
    CapabilityExpired: 401,
    CapabilityRefused: 403,
    MissingBlob: 404,
    TooBig: 413,
    StoreFull: 507,
}


class NotHere(Rejected):
    """This node has no such copy."""

    CODE = "node/1"


class BadRequest(Rejected):
    """The request is malformed; names the field."""

    CODE = "node/2"


class TooMany(Rejected):
    """This node has as many of these under way as it takes."""

    CODE = "node/3"


class NothingListens(Rejected):
    """Nothing listens on a port of a copy."""

    CODE = "node/4"


_STATUS |= {NotHere: 404, TooMany: 429, NothingListens: 502}
_REASON_CHARS_MAX = 400


def answer_json(value: Any, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


def answer_error(code: str, message: str, status: int, *, retry_after_s: float = 0.0) -> web.Response:
    response = answer_json({"code": code, "message": message}, status)
    reason = f"{code} {message}".encode("ascii", "replace").decode()[:_REASON_CHARS_MAX]
    response.headers[REASON_HEADER] = "".join(char if char.isprintable() else " " for char in reason)
    if retry_after_s > 0:
        response.headers["Retry-After"] = str(max(1, round(retry_after_s)))
    return response


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what a handler raises into an answer. What is our own fault is logged and told without its inside."""
    try:
        return await handler(request)
    except Rejected as error:
        return answer_error(error.code, error.message, _STATUS.get(type(error), 400))
    except Temporary as error:
        return answer_error("node/busy", str(error), 503, retry_after_s=error.retry_after_s)
    except Permanent as error:
        return answer_error("node/failed", str(error), 422)
    except web.HTTPException as error:
        return answer_error(f"http/{error.status}", error.reason, error.status)
    except (ConnectionError, TimeoutError):
        raise  # the asker is gone or too slow: there is nobody to answer
    except Exception as error:
        if is_disk_full(error):
            return answer_error(StoreFull.CODE, "this node's disk is full", _STATUS[StoreFull])
        _log.exception("%s %s failed", request.method, request.path)
        return answer_error("node/500", "this node failed; its log says why", 500)
