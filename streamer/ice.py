"""The ICE servers a visitor is told of; relays come with a name and password that expire.

The scheme is that of draft-uberti-behave-turn-rest-00: the name is "expiry:who", the password
the base64 of HMAC-SHA1 over it. A default server has no ICE servers at all.
"""

import base64
import hashlib
import hmac
from typing import Any

from streamer.server_config import ServerConfig, Turn


def ice_servers(config: ServerConfig, *, who: str, now_s: float) -> list[dict[str, Any]]:
    """RTCIceServer dictionaries for one visitor.

    Args:
        config: whose servers.
        who: goes into the relay's log; a random name, never a person's.
        now_s: seconds since 1970.
    """
    servers: list[dict[str, Any]] = []
    if config.ice_servers:
        servers.append({"urls": list(config.ice_servers)})
    if config.turn.urls:
        servers.append(_relay(config.turn, who=who, now_s=now_s))
    return servers


def _relay(turn: Turn, *, who: str, now_s: float) -> dict[str, Any]:
    username = f"{int(now_s) + turn.ttl_s}:{who}"
    digest = hmac.digest(turn.secret.encode(), username.encode(), hashlib.sha1)
    return {
        "urls": list(turn.urls),
        "username": username,
        "credential": base64.b64encode(digest).decode(),
    }
