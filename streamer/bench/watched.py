"""What a client of the live server saw in one stay."""

from dataclasses import dataclass

from streamer.bench.timeline import Sighting


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What a client saw; all times are of one clock.

    Attributes:
        captured: numbers at the camera, by when they were taken.
        previewed: numbers by when they were shown in the preview; empty where there is none.
        returned: numbers in the result, by when they were shown.
        period: after which the camera's numbers begin again.
        received: the receiver's WebRTC statistics, by their standard names.
        stages_ms: the server's last, per stage "p50" and "p95".
        cpu_s: of the client while it measured.
        client: what it was.
    """

    captured: list[Sighting]
    previewed: list[Sighting]
    returned: list[Sighting]
    period: int
    received: dict[str, float]
    stages_ms: dict[str, dict[str, float]]
    cpu_s: float
    client: str
