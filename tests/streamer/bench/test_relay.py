"""The relay and what it does to SDP."""

import asyncio

from painted_media import until
from streamer.bench.relay import BAD, CLEAN, Conditions, Relay, Weather, hide_candidates

ANSWER = "\r\n".join([
    "v=0",
    "m=video 9 UDP/TLS/RTP/SAVPF 96",
    "a=candidate:1 1 udp 2130706431 127.0.0.1 5000 typ host",
    "a=candidate:2 1 udp 2130706431 fd00::1 5001 typ host",
    "a=candidate:3 1 tcp 2130706431 127.0.0.1 9 typ host tcptype active",
    "a=candidate:4 1 udp 1694498815 1.2.3.4 5002 typ srflx raddr 0.0.0.0 rport 0",
    "a=end-of-candidates",
    "",
])  # fmt: skip


class Peer(asyncio.DatagramProtocol):
    """Keeps what it hears; answers "ping" with "pong"."""

    transport: asyncio.DatagramTransport

    def __init__(self) -> None:
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard.put_nowait(data)
        if data == b"ping":
            self.transport.sendto(b"pong", addr)

    @property
    def port(self) -> int:
        return int(self.transport.get_extra_info("sockname")[1])


async def peer() -> Peer:
    transport, made = await asyncio.get_running_loop().create_datagram_endpoint(
        Peer, local_addr=("127.0.0.1", 0)
    )
    made.transport = transport
    return made


def test_the_same_seed_loses_and_delays_the_same() -> None:
    runs = []
    for seed in (1, 1, 2):
        weather = Weather(BAD, seed)
        runs.append([weather.delay_s() for _ in range(4000)])
    assert runs[0] == runs[1] != runs[2]
    lost = sum(delay is None for delay in runs[0])
    assert 150 < lost < 250
    delays = [delay for delay in runs[0] if delay is not None]
    assert 0 <= min(delays) < 0.001
    assert 0.099 < max(delays) < 0.1


def test_a_clean_network_changes_nothing_and_a_cut_one_passes_nothing() -> None:
    weather = Weather(CLEAN)
    assert [weather.delay_s() for _ in range(100)] == [0.0] * 100
    weather.conditions = Conditions(loss=1.0)
    assert [weather.delay_s() for _ in range(100)] == [None] * 100
    assert (weather.num_passed, weather.num_lost) == (100, 100)


def test_datagrams_go_there_and_back_until_the_network_is_cut() -> None:
    async def act() -> None:
        weather = Weather()
        relay = Relay(weather)
        server, clients = await peer(), [await peer(), await peer()]
        address = await relay.address_for(("127.0.0.1", server.port))
        assert await relay.address_for(("127.0.0.1", server.port)) == address
        for client in clients:
            async with asyncio.timeout(10):
                while client.heard.empty():  # the first may be lost while its way is made
                    client.transport.sendto(b"ping", address)
                    await asyncio.sleep(0.01)
        assert [await client.heard.get() for client in clients] == [b"pong", b"pong"]
        num_heard = server.heard.qsize()
        weather.conditions = Conditions(loss=1.0)
        num_lost = weather.num_lost
        clients[0].transport.sendto(b"ping", address)
        await until(lambda: weather.num_lost > num_lost)
        assert server.heard.qsize() == num_heard
        relay.close()
        for one in (server, *clients):
            one.transport.close()

    asyncio.run(act())


def test_an_answer_names_the_relay_and_nobody_else() -> None:
    async def act() -> tuple[str, int]:
        relay = Relay(Weather())
        rewritten = await relay.rewrite_answer(ANSWER)
        _, port = await relay.address_for(("127.0.0.1", 5000))
        relay.close()
        return rewritten, port

    rewritten, port = asyncio.run(act())
    found = [line for line in rewritten.splitlines() if "candidate:" in line]
    assert found == [f"a=candidate:1 1 udp 2130706431 127.0.0.1 {port} typ host"]
    assert port != 5000
    assert "a=end-of-candidates" in rewritten


def test_an_offer_names_nobody() -> None:
    offer = ANSWER + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:1\r\n"
    hidden = hide_candidates(offer)
    found = [line for line in hidden.splitlines() if "candidate:" in line]
    assert found == ["a=candidate:1 1 udp 1 127.0.0.1 9 typ host"] * 2
    assert hidden.replace("".join(f"{found[0]}\r\n"), "").count("m=") == 2
