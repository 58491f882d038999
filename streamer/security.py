"""Who may ask, from which page, and what every answer carries; errors as JSON, never a trace."""

import hmac
import logging
import re
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from aiohttp.typedefs import Middleware
from yarl import URL

from streamer.errors import StreamerError
from streamer.server_config import LOOPBACK_NAMES, ServerConfig

_LOG = logging.getLogger(__name__)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' blob: data:; media-src 'self' blob: mediastream:; object-src 'none'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Server": "difffae-streamer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=()",
}
_OPEN_PATHS = frozenset({"/", "/healthz", "/readyz", "/api/config"})
_REASONS: Mapping[int, tuple[str, str]] = {
    400: ("bad_request", "the request is not well formed"),
    404: ("not_found", "there is nothing at this address"),
    405: ("method_not_allowed", "this address does not take that method"),
    413: ("too_large", "the request is too large"),
}


class HttpError(Exception):
    """An answer of 4xx or 5xx in the one shape that all errors have.

    Args:
        status: of HTTP.
        code: for programs.
        message: one sentence, for people.
        headers: more of them, such as Retry-After.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})


def error_response(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    """{"error": {"code", "message"}}."""
    body = {"error": {"code": code, "message": message}}
    return web.json_response(body, status=status, headers=headers)


def shaping_middleware(
    on_error: Callable[[str], None],
) -> Middleware:
    """Turns every failure into the error shape, and adds the security headers to every answer.

    Args:
        on_error: told the code of each.
    """

    @web.middleware
    async def shape(request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except HttpError as error:
            response = error_response(error.status, error.code, str(error), error.headers)
            on_error(error.code)
        except web.HTTPException as error:
            code, sentence = _REASONS.get(error.status, ("refused", "the request was refused"))
            kept = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
            response = error_response(error.status, code, sentence, kept)
            on_error(code)
        except StreamerError as error:
            response = error_response(422, "unsuitable", str(error))
            on_error("unsuitable")
        except Exception:
            _LOG.exception("a request to %.200r failed", request.path)
            response = error_response(500, "internal", "the server made a mistake; try again")
            on_error("internal")
        if not response.prepared:
            response.headers.update(HEADERS)
            response.headers.setdefault("Cache-Control", "no-store")
        return response

    return shape


def guarding_middleware(
    config: ServerConfig,
) -> Middleware:
    """Refuses foreign hosts and origins with 403, and a missing or wrong token with 401."""

    @web.middleware
    async def guard(request: web.Request, handler: _Handler) -> web.StreamResponse:
        _check_host(request, config)
        _check_origin(request)
        needs_token = request.path not in _OPEN_PATHS and not request.path.startswith("/static/")
        if (needs_token or _given_token(request) is not None) and not has_token(request, config):
            raise HttpError(
                401,
                "token",
                "the access token is missing or wrong; open the address the server printed",
                {"WWW-Authenticate": "Bearer"},
            )
        return await handler(request)

    return guard


def has_token(request: web.Request, config: ServerConfig) -> bool:
    """Whether the request shows the token, or none is needed."""
    if not config.token:
        return True
    given = _given_token(request) or ""
    return hmac.compare_digest(given.encode(errors="replace"), config.token.encode())


def _given_token(request: web.Request) -> str | None:
    header = request.headers.get("Authorization")
    if header is not None:
        scheme, _, token = header.partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""
    if request.method in ("GET", "HEAD") and request.path != "/":
        return request.query.get("token")
    return None


def _check_host(request: web.Request, config: ServerConfig) -> None:
    """Keep other sites' names from pointing at this machine (DNS rebinding)."""
    name = _host_name(request.headers.get("Host", ""))
    allowed = {config.host, *config.allowed_hosts}
    if config.is_local:
        allowed |= LOOPBACK_NAMES
    elif not config.allowed_hosts:
        return
    if name not in allowed:
        raise HttpError(
            403, "host", "the server is not known by this name; add it to --allowed_hosts"
        )


def _host_name(host: str) -> str:
    matched = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.\-_]+))(?::\d{1,5})?", host)
    return "" if matched is None else (matched[1] or matched[2]).lower()


def _check_origin(request: web.Request) -> None:
    origin = request.headers.get("Origin")
    is_foreign = request.headers.get("Sec-Fetch-Site") == "cross-site" and request.path != "/"
    if origin is not None:
        host = request.headers.get("Host", "")
        is_foreign = is_foreign or origin.lower() not in (
            f"http://{host}".lower(),
            f"https://{host}".lower(),
        )
    if is_foreign:
        raise HttpError(403, "cross_origin", "requests from other sites are refused")


def remote_of(request: web.Request) -> str:
    """The address a request came from, for the session record."""
    return request.remote or "unknown"


def is_path_below(path: str) -> bool:
    """Whether a name of a static file is a plain one: no dots ahead, no escapes, no backslash."""
    parts = path.split("/")
    return all(re.fullmatch(r"[A-Za-z0-9_\-][A-Za-z0-9_.\-]{0,99}", part) for part in parts)


def absolute_url(host: str, port: int, token: str) -> str:
    """The address a person opens."""
    url = URL.build(scheme="http", host=host, port=port, path="/")
    return str(url.with_query(token=token) if token else url)
