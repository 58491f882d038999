import asyncio
import contextlib
import gc
import random
import re
import threading
from pathlib import Path

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection

from connected_peer import QUICK, Client
from live_stand_ins import OFFER
from painted_media import StubStream, until
from streamer.errors import StreamerError
from streamer.offers import MAX_CANDIDATES, OfferError, check_offer, check_viewer_offer, ufrags
from streamer.peer import Peer
from streamer.taps import Taps
from streamer.trickle import FragmentError, read_fragment
from streamer.viewer import Viewer, ViewerSettings

NUM_READ = 500
NUM_FRAGMENTS = 300
NUM_ANSWERED = 100
UFRAG = "a=ice-ufrag:abcd\r\n"
CANDIDATE = "a=candidate:1 1 {protocol} {priority} {address} {port} typ {kind}"
HOSTS = ("192.0.2.7", "10.0.0.1", "127.0.0.1", "2001:db8::1", "fe80::1", "0a1b.local")
ELSEWHERE = (
    "metadata.google.internal", "localhost", "evil.example", "..local", "a.b.local", "x.local.evil",
    "0.0.0.0", "::", "224.0.0.251", "ff02::fb", "255.255.255.255", "fe80::1%eth0", "127.1",
    "0x7f000001", "2130706433", "1.2.3.4.5", "::ffff:1.2.3", "[::1]", "http://127.0.0.1/", "é",
)  # fmt: skip
WRONG = (
    "a=fingerprint:md5 00", "a=fingerprint:sha-256 ZZ", "a=setup:none", "a=ice-options:", "a=mid:",
    "a=rtpmap:96", "a=rtpmap:x VP8/90000", "a=rtpmap:96 VP8", "a=rtpmap:96 VP8/x/y/z", "a=fmtp:96",
    "a=fmtp:96 profile-level-id=zzzzzz", "a=rtcp-fb:", "a=extmap:x y", "a=extmap:99999 z",
    "a=ssrc:", "a=ssrc:-1 cname:x", "a=ssrc-group:FID", "a=group:BUNDLE 0 0 0", "a=sctp-port:-1",
    "a=max-message-size:x", "a=msid:", "m=", "m=video", "m=video 9 UDP/TLS/RTP/SAVPF",
    "a=sendnowhere", "m=video x UDP/TLS/RTP/SAVPF 96", "o=", "v=1", "a=identity:" + "A" * 5000,
    "b=AS:-1", "a=rtcp:99999999999", "a=candidate:", "a=candidate:1 1 udp 1 h",
    "a=simulcast:send 1;2;3", "c=IN", "t=", "a=ice-lite", "a=ice-pwd:", "\0", "é" * 999,
    "a=ice-ufrag:" + "u" * 9999, "=" * 99, "a" * 9999,
)  # fmt: skip


def damaged(chance: random.Random, text: str) -> str:
    lines = text.split("\r\n")
    for _ in range(chance.randrange(1, 8)):
        at, fault = chance.randrange(len(lines)), chance.randrange(6)
        if fault == 0:
            lines.pop(at)
        elif fault == 1:
            lines.insert(at, chance.choice(WRONG))
        elif fault == 2:
            lines[at] = lines[at][: chance.randrange(1 + len(lines[at]))]
        elif fault == 3:
            lines[at] = re.sub(r"\d+", lambda _: chance.choice(["", "-1", "9" * 30]), lines[at])
        elif fault == 4:
            lines[at:at] = chance.choice([5, 300]) * [chance.choice(lines)]
        else:
            lines[at] += chance.choice(
                [" ", "\u2028m=video 9 x 1", "\x0ba=mid:7", "\r", ":", "\ud800"]
            )
        lines = lines or [""]
    return "\r\n".join(lines)


def test_damaged_offers_are_read_or_refused_with_a_sentence() -> None:
    chance, num_refused = random.Random(31), 0
    for _ in range(NUM_READ):
        check = chance.choice([check_offer, check_viewer_offer])
        with contextlib.suppress(OfferError):
            check(damaged(chance, OFFER))
            continue
        num_refused += 1
    assert num_refused > NUM_READ // 3


@pytest.mark.parametrize("address", ELSEWHERE)
def test_no_check_is_sent_to_names_groups_or_nowhere(address: str) -> None:
    line = CANDIDATE.format(protocol="udp", priority=1, address=address, port=80, kind="host")
    with pytest.raises(OfferError):
        check_offer(f"{OFFER}{line}\r\n")
    with pytest.raises(FragmentError):
        read_fragment(f"{UFRAG}{line}\r\n", OFFER)


@pytest.mark.parametrize("port", [0, 65_536, -1, 10**30])
def test_a_port_that_is_none_is_refused(port: int) -> None:
    line = CANDIDATE.format(protocol="udp", priority=1, address=HOSTS[0], port=port, kind="host")
    with pytest.raises(OfferError):
        check_offer(f"{OFFER}{line}\r\n")
    with pytest.raises(FragmentError):
        read_fragment(f"{UFRAG}{line}\r\n", OFFER)


@pytest.mark.parametrize("address", HOSTS)
def test_addresses_of_visitors_are_let_through(address: str) -> None:
    line = CANDIDATE.format(protocol="udp", priority=1, address=address, port=80, kind="host")
    check_offer(f"{OFFER}{line}\r\n")
    assert len(read_fragment(f"{UFRAG}{line}\r\n", OFFER).candidates) == 1


def test_fragments_of_anything_are_read_or_refused_with_a_sentence() -> None:
    chance = random.Random(37)
    for _ in range(NUM_FRAGMENTS):
        lines = [UFRAG.strip()]
        for _ in range(chance.choice([1, 4, 70])):
            lines.append(
                CANDIDATE.format(
                    protocol=chance.choice(["udp", "UDP", "tcp", "sctp", ""]),
                    priority=chance.choice([1, 0, -1, 2**32, 2**31, "x"]),
                    address=chance.choice(HOSTS + ELSEWHERE),
                    port=chance.choice([1, 5000, 0, 70_000, -5, "http"]),
                    kind=chance.choice(["host", "srflx", "relay", "", "prflx tcptype", "x y z"]),
                )
            )
        text = "\r\n".join(lines)
        with contextlib.suppress(FragmentError):
            taken = read_fragment(damaged(chance, text), OFFER).candidates
            assert len(taken) <= MAX_CANDIDATES
            assert all(one.ip in HOSTS and 0 < one.port < 2**16 for one in taken)


def test_long_lines_are_searched_once() -> None:
    blank = "a=mid:x" + " " * 30_000 + "y"
    assert ufrags(blank) == set()
    assert ufrags("a=ice-ufrag:" + "x" * 30_000 + "\n" * 30_000 + "y") == {"x" * 30_000}


async def made_offer() -> str:
    client = Client(has_audio=True)
    await client.connection.setLocalDescription(await client.connection.createOffer())
    sdp = str(client.connection.localDescription.sdp)
    await client.connection.close()
    return sdp


async def answered(sdp: str, *, is_checked: bool = True) -> bool:
    """Whether a real connection answered; it is closed either way, and its stream with it."""
    stream = StubStream()

    async def opened() -> StubStream:
        return stream

    peer = Peer(opened, QUICK)
    try:
        if is_checked:
            check_offer(sdp)
        return (await peer.answer(sdp)).startswith("v=0")
    except StreamerError:
        return False
    finally:
        await peer.close()
        assert peer.stream is None


def test_a_real_connection_answers_or_refuses_damaged_offers_and_leaves_nothing() -> None:
    chance = random.Random(41)

    async def act() -> None:
        sdp = await made_offer()
        assert await answered(sdp)
        before, results = num_open(), []
        for number in range(NUM_ANSWERED):
            results.append(await answered(damaged(chance, sdp), is_checked=number % 2 == 0))
        assert 0 < sum(results) < NUM_ANSWERED
        await until(lambda: all(now <= then for now, then in zip(num_open(), before, strict=True)))

    asyncio.run(act())


def num_open() -> tuple[int, int]:
    """Files and sockets, and threads of connections."""
    gc.collect()
    threads = [one for one in threading.enumerate() if one.name.startswith("peer")]
    return len(list(Path("/proc/self/fd").iterdir())), len(threads)


@pytest.mark.parametrize("bundle", ["9 0", "0 9", "0 0", "9"])
def test_sections_that_are_not_there_are_refused_and_leave_nothing(bundle: str) -> None:
    async def act() -> None:
        sdp = re.sub("a=group:BUNDLE .*", f"a=group:BUNDLE {bundle}", await made_offer())
        with pytest.raises(OfferError, match="sections"):
            check_offer(sdp)
        before = num_open()
        await answered(sdp, is_checked=False)
        await until(lambda: all(now <= then for now, then in zip(num_open(), before, strict=True)))

    asyncio.run(act())


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        ("a=fingerprint:.*\r\n", ""),
        ("a=fingerprint:sha-256", "a=fingerprint:md5"),
        ("a=fingerprint:.*\r\n", "a=fingerprint:sha-256 00:11\r\n"),
        ("a=setup:actpass", "a=setup:holdconn"),
        ("a=rtcp-mux\r\n", ""),
        ("a=group:BUNDLE.*\r\n", ""),
        ("a=mid:1", "a=mid:0"),
        ("a=rtpmap:.* VP8/.*\r\n|a=rtpmap:.* H264/.*\r\n", ""),
        ("VP8/90000", "AV1/90000"),
        ("profile-level-id=[0-9a-f]*", "profile-level-id=f4001f"),
        ("a=sctp-port:5000", "a=sctp-port:0"),
        ("a=sctp-port:5000", "a=sctp-port:99999999"),
        ("a=max-message-size:[0-9]*", "a=max-message-size:0"),
        ("a=max-message-size:[0-9]*", "a=max-message-size:99999999999999999999"),
        ("a=ice-pwd:[^\r]*", "a=ice-pwd:x"),
        ("m=application 9", "m=application 0"),
        ("a=extmap:1 ", "a=extmap:15 "),
        ("a=ssrc:[0-9]* ", "a=ssrc:99999999999 "),
    ],
)
def test_offers_that_lack_or_overdo_something_end_in_an_answer_or_a_sentence(
    pattern: str, replacement: str
) -> None:
    async def act() -> None:
        await answered(re.sub(pattern, replacement, await made_offer()))

    asyncio.run(act())


def test_a_viewer_answers_or_refuses_damaged_offers_and_is_forgotten() -> None:
    chance = random.Random(43)

    async def act() -> None:
        connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        connection.addTransceiver("video", direction="recvonly")
        await connection.setLocalDescription(await connection.createOffer())
        sdp = str(connection.localDescription.sdp)
        await connection.close()
        for _ in range(NUM_ANSWERED):
            closed, taps = asyncio.Event(), Taps()
            viewer = Viewer(taps, ViewerSettings(), on_closed=closed.set)
            with contextlib.suppress(OfferError):
                await viewer.answer(damaged(chance, sdp))
            await viewer.close()
            assert closed.is_set()
            assert not taps.is_watched

    asyncio.run(act())
