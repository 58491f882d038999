"""Hands a received video frame on with its last packet, not with the next frame's first.

aiortc's jitter buffer knows that a frame is complete when a packet of the next one arrives: 33 ms
late at 30 frames a second. The marker bit of RTP (RFC 3550 section 5.1, RFC 7741 section 4.1) says
it at once. The buffer here keeps aiortc's own at work, with the same packets and the same order,
and only looks ahead in it: whatever the stock buffer would hand out, it hands out once and no
later. A frame that the stock buffer holds back behind a packet that came late follows at once too.
"""

import logging
import time
from collections.abc import Callable, Sequence

from aiortc import RTCRtpReceiver
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtp import RtpPacket
from aiortc.utils import uint16_add

from streamer.loss_recovery import ask_until_given_up

_LOGGER = logging.getLogger(__name__)
_HALF = 1 << 15
_LATE_TICKS = 10 * 90_000
PATIENCE_S = 0.5
KEY_AGAIN_S = 0.3
_KEY_UNITS = {5, 7}  # H.264: a picture that needs no other, and what precedes it
_BUFFER = "_RTCRtpReceiver__jitter_buffer"
_CODECS = "_RTCRtpReceiver__codecs"
_QUEUE = "_RTCRtpReceiver__decoder_queue"
_CLOCK = "_RTCRtpReceiver__timestamp_mapper"
_STOCK_NAMES = {"_origin", "_is_video", "_packets", "_capacity", "smart_remove", "_remove_frame"}

HandOver = Callable[[RtpPacket, JitterFrame], None]
IsKey = Callable[[RtpPacket, JitterFrame], bool]


class MarkerJitterBuffer(JitterBuffer):
    """The stock buffer of a video track, which also hands out what the marker says is complete.

    Where nothing shows that no packet of a frame is missing at its head (the first frame, and the
    first after packets were given up), the stock buffer decides. A sender whose marker does not
    end its frames is noticed at the first packet after one; from then on the buffer does what the
    stock one does.

    A packet that stays away is given up after a while, with all of its frame, and a key frame is
    asked for; the stock buffer waits until it is full, which takes seconds. It is asked for again
    until it comes, for the request and its answer may be lost too; meanwhile the frames that
    build on the lost one are handed out, somewhat damaged as they are, rather than none.

    Args:
        capacity: in packets, a power of two.
        hand_over: takes frames that become complete together with the one that `add` returns, and
            come before it.
        patience_s: how long frames wait for a missing packet.
        key_again_s: between two requests for a key frame.
        clock: `time.monotonic`, or another in tests.
        is_key: whether a frame needs no earlier one; where nobody can say, any will do.
    """

    def __init__(
        self,
        capacity: int,
        hand_over: HandOver,
        *,
        patience_s: float = PATIENCE_S,
        key_again_s: float = KEY_AGAIN_S,
        clock: Callable[[], float] = time.monotonic,
        is_key: IsKey = lambda packet, frame: True,
    ) -> None:
        super().__init__(capacity=capacity, is_video=True)
        self._hand_over = hand_over
        self._patience_s = patience_s
        self._key_again_s = key_again_s
        self._is_key = is_key
        self._key_asked_s: float | None = None
        self._clock = clock
        self._waits: tuple[int, float] | None = None
        self._next: int | None = None
        self._newest: int | None = None
        self._last_timestamp: int | None = None
        self._is_head_sure = False
        self._is_trusted = True

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Take in a packet; whether to ask for a key frame, and the newest complete frame."""
        if self._is_late(packet):
            return False, None
        if self._newest is None or _behind(self._newest, packet.sequence_number):
            self._newest = packet.sequence_number
        before = self._origin
        is_lossy, stock = super().add(packet)
        self._follow(before, is_released=stock is not None)
        frames = [] if stock is None or self._was_handed_over() else [stock]
        if frames:
            self._next, self._last_timestamp = self._origin, frames[0].timestamp
            self._is_head_sure = True
        elif self._next is None or _behind(self._next, self._start()):
            self._next = self._start()
        is_lossy |= self._give_up()
        if self._is_trusted and self._is_head_sure:
            frames += self._look_ahead()
        asks = self._asks_for_key(packet, frames, is_lossy=is_lossy)
        for frame in frames[:-1]:
            self._hand_over(packet, frame)
        return asks, frames[-1] if frames else None

    @property
    def start(self) -> int | None:
        """Sequence number of the oldest packet that is waited for; None before the first."""
        return self._origin

    def _asks_for_key(
        self, packet: RtpPacket, frames: Sequence[JitterFrame], *, is_lossy: bool
    ) -> bool:
        """Whether to ask for a key frame now: after a loss, and again until one came."""
        now_s = self._clock()
        if not is_lossy:
            if any(self._is_key(packet, frame) for frame in frames):
                self._key_asked_s = None
            if self._key_asked_s is None or now_s - self._key_asked_s < self._key_again_s:
                return False
        self._key_asked_s = now_s
        return True

    def _start(self) -> int:
        assert self._origin is not None  # set by the first packet
        return self._origin

    def _follow(self, before: int | None, *, is_released: bool) -> None:
        """Forget what was handed out when the stock buffer began anew or skipped packets."""
        if self._next is None or before is None:
            return
        is_anew = _behind(self._start(), before)
        is_skipped = _behind(self._next, self._start()) and not is_released
        if is_anew:
            self._newest = self._start()
        if is_anew or is_skipped:
            self._next, self._last_timestamp = None, None
            self._is_head_sure = False

    def _was_handed_over(self) -> bool:
        return self._next is not None and not _behind(self._next, self._start())

    def _is_late(self, packet: RtpPacket) -> bool:
        """Whether it is of a frame long gone; the stock buffer would begin anew with it."""
        if self._next is None or self._last_timestamp is None:
            return False
        is_behind = _behind(packet.sequence_number, self._start())
        return is_behind and 0 <= self._last_timestamp - packet.timestamp < _LATE_TICKS

    def _received(self) -> list[RtpPacket | None]:
        """What is in the buffer, from its start to the newest packet; None where one is missing."""
        assert self._newest is not None  # set by add
        count = uint16_add(self._newest, 1 - self._start())
        count = 0 if count >= _HALF else min(count, self.capacity)
        return [self._packets[(self._start() + i) % self.capacity] for i in range(count)]

    def _give_up(self) -> bool:
        """Skip the frames with a gap at their head when it was waited for long enough."""
        packets = self._received()
        gap = next((i for i, one in enumerate(packets) if one is None), len(packets))
        after = next((one for one in packets[gap:] if one is not None), None)
        if after is None:
            self._waits = None
            return False
        missing, now_s = uint16_add(self._start(), gap), self._clock()
        if self._waits is None or self._waits[0] != missing:
            self._waits = missing, now_s
        if now_s - self._waits[1] < self._patience_s:
            return False
        for i in range(gap + 1, len(packets)):
            one, before = packets[i], packets[i - 1]
            if one is None or before is None or one.timestamp == before.timestamp:
                continue
            self.remove(i)
            self._next, self._last_timestamp = self._start(), before.timestamp
            self._is_head_sure, self._waits = True, None
            return True
        return False

    def _look_ahead(self) -> list[JitterFrame]:
        """Every frame complete from the first packet that was not handed out on."""
        assert self._next is not None  # set by add
        frames: list[JitterFrame] = []
        run: list[RtpPacket] = []
        sequence = self._next
        for _ in range(self.capacity):
            packet = self._packets[sequence % self.capacity]
            if packet is None or packet.sequence_number != sequence:
                break
            if run and packet.timestamp != run[0].timestamp:
                frames.append(self._cut(run, sequence))
                run = []
            sequence = uint16_add(sequence, 1)
            if not run and packet.timestamp == self._last_timestamp:
                self._pass_rest(packet, sequence)
                if not self._is_trusted:
                    break
                continue
            run.append(packet)
            if packet.marker:
                frames.append(self._cut(run, sequence))
                run = []
        return frames

    def _cut(self, run: list[RtpPacket], end: int) -> JitterFrame:
        self._next, self._last_timestamp = end, run[0].timestamp
        data = b"".join(packet._data for packet in run)  # type: ignore[attr-defined]
        return JitterFrame(data=data, timestamp=run[0].timestamp)

    def _pass_rest(self, packet: RtpPacket, end: int) -> None:
        """What follows a marker in its frame is padding, or the marker meant something else."""
        if packet._data:  # type: ignore[attr-defined]
            self._is_trusted = False
            _LOGGER.warning(
                "the sender's marker does not end its frames; waiting for the next ones"
            )
        else:
            self._next = end


def _behind(sequence: int, other: int) -> bool:
    """Whether a 16-bit sequence number comes before another, around the wrap."""
    return uint16_add(sequence, -other) >= _HALF


def release_on_marker(receiver: RTCRtpReceiver) -> bool:
    """Give a video receiver that has received nothing yet the buffer that heeds the marker.

    Returns:
        Whether it was done; where aiortc is not built as expected, it stays as it is and one line
        in the log says so.
    """
    lacking = _lacking(receiver)
    if lacking:
        _LOGGER.warning("frames wait for the next one's first packet: this aiortc %s", lacking)
        return False
    stock = getattr(receiver, _BUFFER)

    def hand_over(packet: RtpPacket, frame: JitterFrame) -> None:
        codec = getattr(receiver, _CODECS)[packet.payload_type]
        frame.timestamp = getattr(receiver, _CLOCK).map(frame.timestamp)
        getattr(receiver, _QUEUE).put((codec, frame))

    def is_key(packet: RtpPacket, frame: JitterFrame) -> bool:
        return is_key_frame(getattr(receiver, _CODECS)[packet.payload_type].name, frame.data)

    buffer = MarkerJitterBuffer(stock.capacity, hand_over, is_key=is_key)
    setattr(receiver, _BUFFER, buffer)
    ask_until_given_up(receiver, lambda: buffer.start)
    return True


def is_key_frame(codec: str, data: bytes) -> bool:
    """Whether an encoded frame needs no earlier one; True also for codecs that are not known.

    Args:
        codec: as RTP names it, "VP8" (RFC 6386 section 9.1) or "H264" (units with start codes).
        data: the whole frame.
    """
    if codec == "VP8":
        return bool(data) and data[0] & 1 == 0
    if codec == "H264":
        units = data.split(b"\0\0\1")[1:]
        return any(unit and unit[0] & 0x1F in _KEY_UNITS for unit in units)
    return True


def _lacking(receiver: RTCRtpReceiver) -> str:
    """What of aiortc 1.16's own code is not there; empty when all is."""
    add = getattr(getattr(JitterBuffer, "add", None), "__code__", None)
    if add is None or not set(add.co_names) >= _STOCK_NAMES:
        return "has another jitter buffer"
    handler = getattr(getattr(type(receiver), "_handle_rtp_packet", None), "__code__", None)
    if handler is None or not set(handler.co_names) >= {_BUFFER, _CODECS, _QUEUE, _CLOCK}:
        return "handles packets in another way"
    stock = getattr(receiver, _BUFFER, None)
    if type(stock) is not JitterBuffer or not stock._is_video or stock._prefetch:
        return "gave this track another jitter buffer"
    return "" if stock._origin is None else "has received packets already"
