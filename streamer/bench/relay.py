"""A bad network without root: a relay of UDP in user space between a client and the server.

All media of a connection goes through it once the candidates of the answer name the relay, and
those of the offer name nobody: the server then learns the way back from the checks that arrive
(RFC 8445 section 7.3.1.3, peer reflexive candidates).
"""

import asyncio
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Address = tuple[str, int]
_CANDIDATE = re.compile(
    r"(?m)^(?P<head>a=candidate:\S+ 1 udp \d+) (?P<host>\S+) (?P<port>\d+) typ host.*$",
    re.IGNORECASE,
)
_ANY_CANDIDATE = re.compile(r"(?m)^a=candidate:.*\r?\n")
_NOBODY = "127.0.0.1 9"  # the discard port (RFC 863)


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What happens to each datagram, in either direction.

    Attributes:
        loss: share that is lost, 0 to 1.
        delay_s: that all take longer.
        jitter_s: that each takes longer at most, drawn evenly; overtaking is what comes of it.
    """

    loss: float = 0.0
    delay_s: float = 0.0
    jitter_s: float = 0.0


CLEAN = Conditions()
BAD = Conditions(loss=0.05, jitter_s=0.1)


class Weather:
    """Decides on each datagram; the same seed decides the same.

    Attributes:
        conditions: of the datagrams to come; may be changed at any time.
        num_passed, num_lost: datagrams so far.
    """

    def __init__(self, conditions: Conditions = CLEAN, seed: int = 0) -> None:
        self.conditions = conditions
        self.num_passed = 0
        self.num_lost = 0
        self._draw = random.Random(seed)

    def delay_s(self) -> float | None:
        """How much later the next datagram leaves; None: never."""
        now = self.conditions
        if self._draw.random() < now.loss:
            self.num_lost += 1
            return None
        self.num_passed += 1
        return now.delay_s + self._draw.random() * now.jitter_s


class Relay:
    """Passes datagrams on between clients and the addresses that `address_for` was asked for.

    Args:
        weather: what happens to them.
    """

    def __init__(self, weather: Weather) -> None:
        self.weather = weather
        self._fronts: dict[Address, asyncio.DatagramTransport] = {}
        self._backs: dict[tuple[Address, Address], asyncio.Future[asyncio.DatagramTransport]] = {}

    async def address_for(self, target: Address) -> Address:
        """Where to send what shall reach `target`; the same for the same target."""
        if target not in self._fronts:
            self._fronts[target] = await self._bound(
                target[0], lambda data, client: self._forward(target, data, client)
            )
        host, port = self._fronts[target].get_extra_info("sockname")[:2]
        return host, port

    async def rewrite_answer(self, sdp: str) -> str:
        """The answer with its UDP host candidates replaced by this relay's, and no others."""
        found = [(one["host"], int(one["port"])) for one in _CANDIDATE.finditer(sdp)]
        addresses = {
            target: await self.address_for(target) for target in found if ":" not in target[0]
        }
        lines = []
        for line in sdp.splitlines(keepends=True):
            match = _CANDIDATE.match(line)
            if match is not None and (target := (match["host"], int(match["port"]))) in addresses:
                host, port = addresses[target]
                lines.append(f"{match['head']} {host} {port} typ host\r\n")
            elif match is None and not line.startswith("a=candidate:"):
                lines.append(line)
        return "".join(lines)

    def close(self) -> None:
        """Give all sockets back; what is on its way is lost."""
        for transport in self._fronts.values():
            transport.close()
        for opening in self._backs.values():
            if opening.done() and not opening.cancelled() and opening.exception() is None:
                opening.result().close()
            opening.cancel()
        self._fronts.clear()
        self._backs.clear()

    def _forward(self, target: Address, data: bytes, client: Address) -> None:
        way = target, client
        if way not in self._backs:
            self._backs[way] = asyncio.ensure_future(
                self._bound(target[0], lambda back, _: self._return(target, client, back))
            )
        opening = self._backs[way]
        if opening.done():
            self._send(opening.result(), data, target)

    def _return(self, target: Address, client: Address, data: bytes) -> None:
        if target in self._fronts:
            self._send(self._fronts[target], data, client)

    def _send(self, transport: asyncio.DatagramTransport, data: bytes, to: Address) -> None:
        delay_s = self.weather.delay_s()
        if delay_s == 0:
            transport.sendto(data, to)
        elif delay_s is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(delay_s, _send_late, transport, data, to)

    @staticmethod
    async def _bound(
        host: str, heard: Callable[[bytes, Address], None]
    ) -> asyncio.DatagramTransport:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Ear(heard), local_addr=(host, 0)
        )
        return transport


class _Ear(asyncio.DatagramProtocol):
    def __init__(self, heard: Callable[[bytes, Address], None]) -> None:
        self._heard = heard

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._heard(data, (addr[0], addr[1]))

    def error_received(self, exc: Exception) -> None:
        """A closed port says so by ICMP; the peers notice by themselves."""


def _send_late(transport: asyncio.DatagramTransport, data: bytes, to: Address) -> None:
    if not transport.is_closing():
        transport.sendto(data, to)


def hide_candidates(offer: str) -> str:
    """The offer with candidates where nobody is: the server answers whoever asks."""
    sections = re.split(r"(?m)^(?=m=)", _ANY_CANDIDATE.sub("", offer))
    line = f"a=candidate:1 1 udp 1 {_NOBODY} typ host\r\n"
    return sections[0] + "".join(section + line for section in sections[1:])
