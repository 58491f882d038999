"""Recordings over HTTP: fetch one, or remove it."""

from aiohttp import web

from streamer.recordings import RecordingError, Recordings
from streamer.security import HttpError

RECORDINGS: web.AppKey[Recordings] = web.AppKey("recordings", Recordings)


def add_recordings(app: web.Application, recordings: Recordings) -> None:
    """Add /api/recordings; the folder is made when the app starts, removed when it ends."""
    app[RECORDINGS] = recordings
    app.on_startup.append(_prepare)
    app.on_cleanup.append(_close)
    app.add_routes(
        [
            web.get("/api/recordings/{id}", get_recording),
            web.delete("/api/recordings/{id}", delete_recording),
        ]
    )


async def get_recording(request: web.Request) -> web.StreamResponse:
    """The file, once it is whole and signed."""
    try:
        found = await request.app[RECORDINGS].file(request.match_info["id"])
    except RecordingError as error:
        raise HttpError(409, "not_finished", str(error)) from error
    if found is None:
        raise _unknown()
    path, name = found
    headers = {
        "Content-Disposition": f'attachment; filename="{name}"',
        "Content-Type": "video/mp4",
        "Cache-Control": "private, no-store",
    }
    return web.FileResponse(path, headers=headers)


async def delete_recording(request: web.Request) -> web.Response:
    """Remove it, also while it is made."""
    if not await request.app[RECORDINGS].remove(request.match_info["id"]):
        raise _unknown()
    return web.Response(status=204)


async def _prepare(app: web.Application) -> None:
    await app[RECORDINGS].prepare()


async def _close(app: web.Application) -> None:
    await app[RECORDINGS].close()


def _unknown() -> HttpError:
    return HttpError(404, "unknown_recording", "there is no such recording; it may be removed")
