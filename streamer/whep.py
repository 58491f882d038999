"""WHEP playback (draft-ietf-wish-whep-03): what a session shows, for players; no ICE restarts.

The address of a session's playback has a key of its own: with it one can watch, and end nothing.
"""

import re
import time
from dataclasses import dataclass

from aiohttp import web
from aiortc import RTCIceServer
from multidict import CIMultiDict

from streamer.ice import ice_servers
from streamer.offers import OfferError, check_viewer_offer, ufrags
from streamer.security import HttpError
from streamer.server_config import ServerConfig
from streamer.session import Session
from streamer.sessions import FullError, new_key
from streamer.signaling import (
    FRAGMENT_TYPE,
    RETRY_AFTER_S,
    SERVICES,
    SESSIONS,
    read_body,
    require_type,
)
from streamer.trickle import FragmentError, read_fragment
from streamer.viewer import Viewer, ViewerSettings
from streamer.whip import SDP_TYPE, check_entity_tag, ice_links


@dataclass(frozen=True, kw_only=True)
class Watching:
    """One viewer of a session.

    Attributes:
        identifier: unguessable; who knows it can end this viewer.
        key: of the session's playback.
        offer: the player's.
    """

    identifier: str
    key: str
    offer: str
    viewer: Viewer

    @property
    def tag(self) -> str:
        """The ETag of its ICE generation, the only one it has."""
        return f'"{self.identifier[:8]}"'


class Viewers:
    """Everyone who watches.

    Args:
        config: limits and ICE servers.
    """

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self._watching: dict[str, Watching] = {}

    @property
    def num_watching(self) -> int:
        """Of all sessions."""
        return len(self._watching)

    def get(self, key: str, identifier: str) -> Watching | None:
        """The viewer of that id, where it watches that session."""
        watching = self._watching.get(identifier)
        return watching if watching is not None and watching.key == key else None

    async def open(self, session: Session, offer: str) -> tuple[Watching, str]:
        """Let one more watch; it and the SDP answer.

        Raises:
            FullError: as many as are allowed watch this session.
            OfferError: the offer cannot be answered.
        """
        key, limits = session.watch_key, self._config.limits
        if sum(each.key == key for each in self._watching.values()) >= limits.num_viewers:
            raise FullError("as many as may are watching this session; try again later")
        identifier = new_key()
        servers = ice_servers(self._config, who="server", now_s=time.time())
        viewer = Viewer(
            session.taps,
            ViewerSettings(
                ice_servers=[RTCIceServer(**server) for server in servers],
                connect_s=limits.connect_s,
            ),
            on_closed=lambda: self._forget(identifier),
        )
        watching = Watching(identifier=identifier, key=key, offer=offer, viewer=viewer)
        self._watching[identifier] = watching
        return watching, await viewer.answer(offer)

    async def close_all(self) -> None:
        """End every viewer."""
        for watching in list(self._watching.values()):
            await watching.viewer.close()

    def _forget(self, identifier: str) -> None:
        self._watching.pop(identifier, None)


VIEWERS: web.AppKey[Viewers] = web.AppKey("viewers", Viewers)


def add_whep(app: web.Application) -> None:
    """Add /whep/{key} and its viewers to an app made by `signaling.create_app`."""
    app[VIEWERS] = Viewers(app[SERVICES].config)
    app.on_shutdown.append(_end)
    app.add_routes(
        [
            web.options("/whep/{key}", get_options),
            web.get("/whep/{key}", get_nothing),
            web.post("/whep/{key}", post_offer),
            web.get("/whep/{key}/{id}", get_nothing),
            web.patch("/whep/{key}/{id}", patch_viewer),
            web.delete("/whep/{key}/{id}", delete_viewer),
        ]
    )


async def get_options(request: web.Request) -> web.Response:
    """What may be posted; the same for every key, so that none can be found out."""
    return web.Response(status=204, headers={"Accept-Post": SDP_TYPE})


async def get_nothing(request: web.Request) -> web.Response:
    """2xx without content, as the draft wants it."""
    if "id" in request.match_info:
        _watching(request)
    else:
        _session(request)
    return web.Response(status=204)


async def post_offer(request: web.Request) -> web.Response:
    """Begin to watch; the answer only sends."""
    config = request.app[SERVICES].config
    session = _session(request)
    require_type(request, SDP_TYPE)
    offer = await _text(request, config)
    offer = re.sub(r"(?m)^a=sendrecv(\r?)$", r"a=recvonly\1", offer)
    try:
        check_viewer_offer(offer)
        watching, answer = await request.app[VIEWERS].open(session, offer)
    except FullError as error:
        raise HttpError(503, "full", str(error), {"Retry-After": RETRY_AFTER_S}) from error
    except OfferError as error:
        raise HttpError(422, "bad_offer", str(error)) from error
    headers: CIMultiDict[str] = CIMultiDict()
    headers["Location"] = f"/whep/{watching.key}/{watching.identifier}"
    headers["ETag"] = watching.tag
    for link in ice_links(config):
        headers.add("Link", link)
    return web.Response(status=201, text=answer, content_type=SDP_TYPE, headers=headers)


async def patch_viewer(request: web.Request) -> web.Response:
    """Trickled candidates (RFC 8840) for the viewer; an ICE restart is refused."""
    watching = _watching(request)
    check_entity_tag(request, watching.tag)
    require_type(request, FRAGMENT_TYPE)
    text = await _text(request, request.app[SERVICES].config)
    try:
        fragment = read_fragment(text, watching.offer)
        if not fragment.ufrags <= ufrags(watching.offer):
            raise HttpError(422, "no_restart", "ICE cannot be restarted; begin to watch again")
        watching.viewer.add_candidates(fragment)
    except FragmentError as error:
        raise HttpError(400, "bad_request", str(error)) from error
    return web.Response(status=204)


async def delete_viewer(request: web.Request) -> web.Response:
    """Stop watching."""
    await _watching(request).viewer.close()
    return web.Response(status=200)


def _session(request: web.Request) -> Session:
    session = request.app[SESSIONS].watched(request.match_info["key"])
    if session is None:
        raise HttpError(404, "unknown_session", "there is nothing to watch; it may have ended")
    return session


def _watching(request: web.Request) -> Watching:
    given = request.match_info
    watching = request.app[VIEWERS].get(given["key"], given["id"])
    if watching is None:
        raise HttpError(404, "unknown_viewer", "there is no such viewer; it may have ended")
    return watching


async def _text(request: web.Request, config: ServerConfig) -> str:
    try:
        return (await read_body(request, config.limits.offer_bytes)).decode()
    except UnicodeDecodeError as error:
        raise HttpError(400, "bad_request", "the body is not UTF-8") from error


async def _end(app: web.Application) -> None:
    await app[VIEWERS].close_all()
