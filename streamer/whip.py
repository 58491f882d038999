"""WHIP ingest (RFC 9725): a camera from OBS and the like; without ICE restarts.

The portrait and the consent, of which the RFC knows nothing, are in the query of the endpoint.
"""

import re
import secrets
import time
from typing import Any

from aiohttp import web
from multidict import CIMultiDict

from streamer.ice import ice_servers
from streamer.security import HttpError, remote_of
from streamer.server_config import ServerConfig
from streamer.session import Session
from streamer.sessions import SessionWish, new_key
from streamer.signaling import (
    SERVICES,
    SESSIONS,
    delete_session,
    open_session,
    patch_session,
    read_body,
    require_consent,
    require_type,
    session_of,
)

SDP_TYPE = "application/sdp"


def add_whip(app: web.Application) -> None:
    """Add the endpoint /whip and its sessions to an app made by `signaling.create_app`."""
    app.add_routes(
        [
            web.options("/whip", get_options),
            web.post("/whip", post_offer),
            web.delete("/whip/{id}", delete_ingest),
            web.patch("/whip/{id}", patch_ingest),
        ]
    )


async def get_options(request: web.Request) -> web.Response:
    """What may be posted (RFC 9725, 4.2)."""
    return web.Response(status=204, headers={"Accept-Post": SDP_TYPE})


async def post_offer(request: web.Request) -> web.Response:
    """Begin an ingest; the answer only receives."""
    services = request.app[SERVICES]
    require_type(request, SDP_TYPE)
    portrait = request.query.get("portrait")
    if not portrait:
        raise HttpError(400, "bad_request", "the address must have portrait=, an id")
    require_consent(request.query.get("consent"))
    body = await read_body(request, services.config.limits.offer_bytes)
    try:
        offer = body.decode()
    except UnicodeDecodeError as error:
        raise HttpError(400, "bad_request", "the offer is not UTF-8") from error
    session, answer = await open_session(
        request.app[SESSIONS],
        services,
        SessionWish(
            offer=re.sub(r"(?m)^a=sendrecv(\r?)$", r"a=sendonly\1", offer),
            portrait=portrait,
            remote=remote_of(request),
            watch_key=_watch_key(request),
        ),
    )
    headers: CIMultiDict[str] = CIMultiDict()
    headers["Location"] = f"/whip/{session.identifier}"
    headers["ETag"] = entity_tag(session)
    for link in ice_links(services.config):
        headers.add("Link", link)
    headers.add("Link", f'</whep/{session.watch_key}>; rel="related"; title="watch"')
    return web.Response(status=201, text=answer, content_type=SDP_TYPE, headers=headers)


def _watch_key(request: web.Request) -> str:
    """The key that the address asks for, where headers of the answer are not shown; or a new one.

    Raises:
        HttpError: 400 for one that could be guessed or cannot be in an address.
    """
    key = request.query.get("watch")
    if key is None:
        return new_key()
    if re.fullmatch(r"[A-Za-z0-9_-]{16,64}", key) is None:
        raise HttpError(400, "bad_request", "watch must be 16 to 64 letters, digits, - or _")
    return key


async def delete_ingest(request: web.Request) -> web.Response:
    """End it; the RFC has 200 here."""
    await delete_session(request)
    return web.Response(status=200)


async def patch_ingest(request: web.Request) -> web.Response:
    """Trickled candidates; a restart is refused with 422 (RFC 9725, 4.3)."""
    check_entity_tag(request, entity_tag(session_of(request)))
    return await patch_session(request)


def check_entity_tag(request: web.Request, tag: str) -> None:
    """Refuse an `If-Match` of another ICE generation, or one that asks for a restart.

    Raises:
        HttpError: 412 or 422.
    """
    wanted = request.headers.get("If-Match")
    if wanted is not None and wanted.strip('"') == "*":
        raise HttpError(422, "no_restart", "ICE cannot be restarted; begin another session")
    if wanted is not None and wanted != tag:
        raise HttpError(412, "wrong_etag", "If-Match is not the ETag of this session")


def entity_tag(session: Session) -> str:
    """Of the session's ICE generation, the only one it has."""
    return f'"{session.identifier[:8]}"'


def ice_links(config: ServerConfig) -> list[str]:
    """Link headers that name the ICE servers (RFC 9725, 4.6)."""
    servers = ice_servers(config, who=secrets.token_urlsafe(9), now_s=time.time())
    return [_link(url, server) for server in servers for url in server["urls"]]


def _link(url: str, server: dict[str, Any]) -> str:
    link = f'<{url}>; rel="ice-server"'
    if "username" not in server:
        return link
    return (
        f'{link}; username="{server["username"]}"; credential="{server["credential"]}"; '
        'credential-type="password"'
    )
