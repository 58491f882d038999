"""The HTTP side of the protocol, docs/protocol.md: page, portraits, sessions, health."""

import asyncio
import secrets
import time
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from streamer.consent import CONSENT_SHA256, CONSENT_TEXT, SessionLog, is_consent
from streamer.controls import controls_schema
from streamer.errors import ComputeLostError, ModelError, OutputError, PortraitError, StreamerError
from streamer.ice import ice_servers
from streamer.live import Compute, why_not_ready
from streamer.messages import MAX_ID_LENGTH, MessageError, read_json_object
from streamer.offers import OfferError, check_offer
from streamer.peering import Peer as Peer
from streamer.peering import PeerFactory as PeerFactory
from streamer.peering import PeerRequest as PeerRequest
from streamer.peering import Recorder
from streamer.portraits import PictureSizeError, PictureTypeError, Portrait, Portraits
from streamer.prometheus import CONTENT_TYPE
from streamer.security import (
    HttpError,
    guarding_middleware,
    has_token,
    is_path_below,
    remote_of,
    shaping_middleware,
)
from streamer.server_config import ServerConfig
from streamer.session import RestartError, Session
from streamer.sessions import (
    FullError,
    KeyTakenError,
    NotReadyError,
    Services,
    SessionRequest,
    Sessions,
    SessionWish,
)
from streamer.trickle import FragmentError

LABEL = "AI MODIFIED"
RETRY_AFTER_S = "5"
READ_S = 30.0
MOST_UPLOADS = 8  # under way at once: each may hold a whole file and all of its pixels
PICTURE_TYPES = ("image/jpeg", "image/png", "image/webp")
FRAGMENT_TYPE = "application/trickle-ice-sdpfrag"
SERVICES: web.AppKey[Services] = web.AppKey("services", Services)
SESSIONS: web.AppKey[Sessions] = web.AppKey("sessions", Sessions)
UPLOADS: web.AppKey[asyncio.Semaphore] = web.AppKey("uploads", asyncio.Semaphore)


def create_app(
    config: ServerConfig,
    compute: Compute,
    make_peer: PeerFactory,
    *,
    portraits: Portraits | None = None,
    recorder: Recorder | None = None,
) -> web.Application:
    """The app; it ends all sessions when it is cleaned up, and leaves `compute` to its owner.

    Args:
        config: checked.
        compute: started by the owner, before or while the app runs.
        make_peer: of each session.
        portraits: None opens the bundled gallery.
        recorder: None refuses to record.
    """
    services = Services(
        config=config,
        compute=compute,
        make_peer=make_peer,
        portraits=portraits or Portraits(config.limits),
        log=SessionLog(config.log_folder),
        recorder=recorder,
    )
    app = web.Application(
        middlewares=[
            shaping_middleware(services.metrics.count_error),
            guarding_middleware(config),
        ],
        client_max_size=config.limits.upload_bytes,
    )
    app[SERVICES] = services
    app[SESSIONS] = Sessions(services)
    app[UPLOADS] = asyncio.Semaphore(MOST_UPLOADS)
    app.on_startup.append(_prepare)
    app.on_shutdown.append(_end)
    _add_routes(app)
    return app


def _add_routes(app: web.Application) -> None:
    app.add_routes(
        [
            web.get("/", get_page),
            web.get("/static/{name:.+}", get_static),
            web.get("/api/config", get_config),
            web.get("/api/portraits/{id}/picture", get_picture),
            web.post("/api/portraits", post_portrait),
            web.post("/api/sessions", post_session),
            web.get("/api/sessions/{id}", get_session),
            web.delete("/api/sessions/{id}", delete_session),
            web.patch("/api/sessions/{id}", patch_session),
            web.get("/healthz", get_health),
            web.get("/readyz", get_readiness),
            web.get("/metrics", get_metrics),
        ]
    )


async def _prepare(app: web.Application) -> None:
    await asyncio.to_thread(app[SERVICES].log.prepare)


async def _end(app: web.Application) -> None:
    await app[SESSIONS].close_all()


async def get_page(request: web.Request) -> web.StreamResponse:
    """The page itself."""
    return await _file(request, "index.html")


async def get_static(request: web.Request) -> web.StreamResponse:
    """What the page is made of; only plain names inside the web folder."""
    return await _file(request, request.match_info["name"])


async def get_config(request: web.Request) -> web.Response:
    """All a page must know; relays only for those who may use them."""
    services = request.app[SERVICES]
    config, limits = services.config, services.config.limits
    who = secrets.token_urlsafe(9)
    is_let_in = has_token(request, config)
    body = {
        "consent": {"text": CONSENT_TEXT, "sha256": CONSENT_SHA256},
        "label": LABEL,
        "ice_servers": ice_servers(config, who=who, now_s=time.time()) if is_let_in else [],
        "limits": {**vars(limits), "max_sessions": config.max_sessions},
        "controls": controls_schema(),
        "portraits": services.portraits.listed(),
        "needs_token": bool(config.token),
        "can_record": services.recorder is not None,
    }
    return web.json_response(body)


async def get_picture(request: web.Request) -> web.Response:
    """A portrait's preview."""
    portrait = await _portrait(request.app[SERVICES], request.match_info["id"])
    if portrait is None:
        raise HttpError(404, "unknown_portrait", "there is no such portrait")
    headers = {"Cache-Control": "private, max-age=3600"}
    return web.Response(body=portrait.preview, content_type="image/jpeg", headers=headers)


async def post_portrait(request: web.Request) -> web.Response:
    """Take a portrait in, after consent; a face is looked for where the model is warm."""
    services = request.app[SERVICES]
    require_consent(request.headers.get("X-Consent"))
    require_type(request, *PICTURE_TYPES)
    if request.app[UPLOADS].locked():
        later = {"Retry-After": RETRY_AFTER_S}
        raise HttpError(503, "full", "too many portraits are coming in; try again later", later)
    async with request.app[UPLOADS]:
        portrait = await _taken_in(request, services)
    location = f"/api/portraits/{portrait.identifier}/picture"
    return web.json_response(
        {"id": portrait.identifier}, status=201, headers={"Location": location}
    )


async def _taken_in(request: web.Request, services: Services) -> Portrait:
    data = await read_body(request, services.config.limits.upload_bytes)
    try:
        portrait = await services.portraits.decode(data)
        if services.compute.is_ready:
            await services.compute.add_portrait(portrait.image)
    except PictureTypeError as error:
        raise HttpError(415, "not_a_picture", str(error)) from error
    except PictureSizeError as error:
        raise HttpError(413, "too_large", str(error)) from error
    except PortraitError as error:
        raise HttpError(422, "bad_portrait", str(error)) from error
    except (ComputeLostError, ModelError):
        pass  # the session looks again
    services.portraits.keep(portrait)
    return portrait


async def post_session(request: web.Request) -> web.Response:
    """Begin a session: SDP offer in, answer out."""
    services, sessions = request.app[SERVICES], request.app[SESSIONS]
    require_type(request, "application/json")
    body = await read_body(request, services.config.limits.offer_bytes)
    try:
        values = read_json_object(body.decode())
    except (UnicodeDecodeError, MessageError) as error:
        raise HttpError(400, "not_json", "the body is not a JSON object in UTF-8") from error
    offer, name = _text(values, "sdp"), _text(values, "portrait")
    is_mirrored = values.get("mirror", False)
    if not isinstance(is_mirrored, bool):
        raise HttpError(400, "bad_request", "mirror must be true or false")
    if values.get("type", "offer") != "offer":
        raise HttpError(400, "bad_request", "type must be offer")
    require_consent(values.get("consent"))
    wish = SessionWish(
        offer=offer, portrait=name, remote=remote_of(request), is_mirrored=is_mirrored
    )
    session, answer = await open_session(sessions, services, wish)
    return web.json_response(
        {
            "id": session.identifier,
            "sdp": answer,
            "type": "answer",
            "watch": f"/whep/{session.watch_key}",
        },
        status=201,
        headers={"Location": f"/api/sessions/{session.identifier}"},
    )


async def open_session(
    sessions: Sessions, services: Services, wish: SessionWish
) -> tuple[Session, str]:
    """Begin a session, every failure as an answer of HTTP.

    Raises:
        HttpError: 422 for what was sent, 503 with Retry-After where there is no place now.
    """
    later = {"Retry-After": RETRY_AFTER_S}
    try:
        check_offer(wish.offer)
        sessions.check_room()
        portrait = await _portrait(services, wish.portrait)
        if portrait is None:
            raise HttpError(422, "unknown_portrait", "there is no such portrait; upload it again")
        return await sessions.open(
            SessionRequest(
                remote=wish.remote,
                portrait=portrait,
                offer=wish.offer,
                is_mirrored=wish.is_mirrored,
                watch_key=wish.watch_key,
            )
        )
    except FullError as error:
        raise HttpError(503, "full", str(error), later) from error
    except KeyTakenError as error:
        raise HttpError(409, "watch_taken", str(error)) from error
    except (NotReadyError, ComputeLostError, ModelError) as error:
        raise HttpError(503, "not_ready", str(error), later) from error
    except OutputError as error:
        raise HttpError(503, "no_record", str(error), later) from error
    except PortraitError as error:
        raise HttpError(422, "bad_portrait", str(error)) from error
    except OfferError as error:
        raise HttpError(422, "bad_offer", str(error)) from error
    except StreamerError as error:
        raise HttpError(422, "bad_offer", str(error)) from error


async def get_session(request: web.Request) -> web.Response:
    """State and figures."""
    return web.json_response(session_of(request).describe())


async def delete_session(request: web.Request) -> web.Response:
    """End a session."""
    session = session_of(request)
    await request.app[SESSIONS].close(session.identifier, "you ended the session")
    return web.Response(status=204)


async def patch_session(request: web.Request) -> web.Response:
    """Trickled candidates (RFC 8840) for the connection; an ICE restart is refused."""
    session = session_of(request)
    require_type(request, FRAGMENT_TYPE)
    body = await read_body(request, request.app[SERVICES].config.limits.offer_bytes)
    try:
        fragment = body.decode()
    except UnicodeDecodeError as error:
        raise HttpError(400, "bad_request", "the fragment is not UTF-8") from error
    try:
        await session.trickle(fragment)
    except RestartError as error:
        raise HttpError(422, "no_restart", str(error)) from error
    except FragmentError as error:
        raise HttpError(400, "bad_request", str(error)) from error
    return web.Response(status=204)


async def get_health(request: web.Request) -> web.Response:
    """The event loop answers."""
    return web.json_response({"status": "ok"})


async def get_readiness(request: web.Request) -> web.Response:
    """Whether sessions can begin."""
    if reason := why_not_ready(request.app[SERVICES].compute):
        raise HttpError(503, "not_ready", reason, {"Retry-After": RETRY_AFTER_S})
    return web.json_response({"status": "ready", "sessions": len(request.app[SESSIONS])})


async def get_metrics(request: web.Request) -> web.Response:
    """For Prometheus."""
    services, metrics = request.app[SERVICES], request.app[SERVICES].metrics
    metrics.ready.set(services.compute.is_ready)
    metrics.places.set(services.config.max_sessions)
    if not len(request.app[SESSIONS]):
        metrics.load_level.set(0)
    return web.Response(body=metrics.text(), headers={"Content-Type": CONTENT_TYPE})


async def read_body(request: web.Request, max_bytes: int) -> bytes:
    """The body, no further than a limit of bytes and of time.

    A compressed body counts with what comes out of it.

    Raises:
        HttpError: 413, 408, or 400 where it cannot be unpacked or broke off.
    """
    too_large = HttpError(413, "too_large", f"the body can have at most {max_bytes} bytes")
    if (request.content_length or 0) > max_bytes:
        raise too_large
    data = bytearray()
    try:
        async with asyncio.timeout(READ_S):
            while len(data) <= max_bytes and not request.content.at_eof():
                data += await request.content.readany()
    except TimeoutError as error:
        raise HttpError(408, "timeout", "the body came too slowly") from error
    except (web.RequestPayloadError, ConnectionError) as error:
        raise HttpError(400, "bad_request", "the body broke off, or is not as declared") from error
    if len(data) > max_bytes:
        raise too_large
    return bytes(data)


def require_consent(given: object) -> None:
    """Refuse without the consent's hash.

    Raises:
        HttpError: 403.
    """
    if not is_consent(given):
        raise HttpError(
            403, "consent", "agree to the text in /api/config first, and send its sha256"
        )


def require_type(request: web.Request, *types: str) -> None:
    """Refuse a body of another kind.

    Raises:
        HttpError: 415.
    """
    if request.content_type not in types or "Content-Type" not in request.headers:
        raise HttpError(415, "content_type", f"the Content-Type must be {' or '.join(types)}")


def _text(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    if not isinstance(value, str) or not value:
        raise HttpError(400, "bad_request", f"{name} must be a text")
    return value


def session_of(request: web.Request) -> Session:
    """The session that the address names.

    Raises:
        HttpError: 404.
    """
    session = request.app[SESSIONS].get(request.match_info["id"])
    if session is None:
        raise HttpError(404, "unknown_session", "there is no such session; it may have ended")
    return session


async def _portrait(services: Services, name: str) -> Portrait | None:
    return await services.portraits.get(name) if len(name) <= MAX_ID_LENGTH else None


async def _file(request: web.Request, name: str) -> web.StreamResponse:
    folder = request.app[SERVICES].config.web_folder.resolve()
    path = folder / name
    is_there = is_path_below(name) and await asyncio.to_thread(
        lambda: path.is_file() and path.resolve().is_relative_to(folder)
    )
    if not is_there:
        raise HttpError(404, "not_found", "there is nothing at this address")
    return web.FileResponse(path, headers={"Cache-Control": "no-cache"})
