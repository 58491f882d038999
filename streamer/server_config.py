"""What a server is told: by command line, environment (STREAMER_TOKEN …) and an optional YAML."""

import ipaddress
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jsonargparse import ArgumentError, ArgumentParser

from streamer.engine import Runtime
from streamer.errors import UsageError
from streamer.portrait import MAX_PIXELS


def _page_folder() -> Path:
    """Where the page is: in the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "webclient"
    return installed if installed.is_dir() else package.parent / "webclient"


LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def default_log_folder() -> Path:
    """Where session records go when nobody says otherwise."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "difffae-streamer"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much one visitor may ask of the server.

    Attributes:
        upload_bytes: of a portrait's file.
        upload_pixels: of a portrait, judged by its header.
        offer_bytes: of a session request with its SDP.
        message_bytes: of one message of the data channel.
        num_portraits: uploads held in memory; the one unused for longest goes first.
        portraits_bytes: of all uploads once decoded.
        connect_s: to a connected peer, from the answer.
        idle_s: without a camera frame.
        session_s: in all.
        num_viewers: of one session.
        recording_s: longest recording.
        recording_bytes: largest recording.
        num_recordings: on the server; past it the oldest finished one is removed.
        recording_kept_s: from its end until a recording is removed.
    """

    upload_bytes: int = 10 * 2**20
    upload_pixels: int = MAX_PIXELS
    offer_bytes: int = 64 * 2**10
    message_bytes: int = 16 * 2**10
    num_portraits: int = 32
    portraits_bytes: int = 512 * 2**20
    connect_s: float = 20.0
    idle_s: float = 30.0
    session_s: float = 3600.0
    num_viewers: int = 4
    recording_s: float = 600.0
    recording_bytes: int = 500_000_000
    num_recordings: int = 16
    recording_kept_s: float = 3600.0


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A TURN server that shares a secret with us (coturn: use-auth-secret).

    Attributes:
        urls: turn:host:3478?transport=udp, turns:host:5349 …
        secret: the shared one; visitors get only names and passwords made with it.
        ttl_s: how long those are good.
    """

    urls: tuple[str, ...] = ()
    secret: str = field(default="", repr=False)
    ttl_s: int = 3600


@dataclass(frozen=True, kw_only=True)
class Bitrate:
    """Bounds of the video that is sent, kbit/s."""

    least_kbps: int = 300
    start_kbps: int = 1500
    most_kbps: int = 4000


@dataclass(frozen=True, kw_only=True)
class ServerConfig:
    """Everything a server is told.

    Attributes:
        host: address to listen at; other than loopback only with a token.
        port: 0 takes a free one.
        token: what visitors must show; empty lets everyone in who reaches the address.
        allowed_hosts: names that the Host header may hold besides those of loopback.
        model: a bundled name, or a folder with config.yaml and safetensors.
        device: cpu, cuda, cuda:1; several with commas between serve as many processes.
        runtime: how networks run.
        ray: run the model on a Ray cluster instead: local, auto, HOST:PORT of its head.
        replicas: of the model on the cluster, one for each accelerator.
        max_sessions: people on camera at once.
        max_side_px: larger portraits are shown in this size; 0 is 720, or 384 on a CPU of fewer
            than four cores.
        limits: per visitor.
        ice_servers: STUN URLs; none by default, which suffices where no NAT is between.
        turn: relays with expiring credentials.
        bitrate: of the video that is sent.
        log_folder: session records are appended to sessions.jsonl in it.
        web_folder: the page.
        recording_folder: recordings go into a private folder in it, removed at the end; None for
            the system's temporary folder.
        certificate: PEM file of who signs recordings, with those above it; without it a test
            certificate, which proves integrity, not origin.
        key: PEM file of its private key.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    token: str = field(default="", repr=False)
    allowed_hosts: tuple[str, ...] = ()
    model: str = "lite-256"
    device: str = "cpu"
    runtime: Runtime = "auto"
    ray: str = ""
    replicas: int = 1
    max_sessions: int = 2
    max_side_px: int = 0
    limits: Limits = field(default_factory=Limits)
    ice_servers: tuple[str, ...] = ()
    turn: Turn = field(default_factory=Turn)
    bitrate: Bitrate = field(default_factory=Bitrate)
    log_folder: Path = field(default_factory=default_log_folder)
    web_folder: Path = field(default_factory=_page_folder)
    recording_folder: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @property
    def devices(self) -> tuple[str, ...]:
        """Each device, of which every one has a compute process of its own."""
        return tuple(self.device.split(","))

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the address."""
        return is_loopback(self.host)


def default_side_px(device: str, num_cores: int) -> int:
    """How large a portrait is shown where nobody says: what a machine can paint fluently."""
    return 384 if device == "cpu" and num_cores < 4 else 720


def is_loopback(host: str) -> bool:
    """Whether a host name or address stays on this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_config(arguments: Sequence[str] | None = None) -> ServerConfig:
    """The checked configuration that a command line asks for.

    Raises:
        UsageError: an unknown option, a value that cannot be, one sentence.
    """
    parser = ArgumentParser(
        prog="python -m streamer.server",
        description="Let a webcam drive a portrait in the browser.",
        exit_on_error=False,
        default_env=True,
        env_prefix="STREAMER",
    )
    parser.add_argument("--config", action="config", help="a YAML file with any of the options")
    parser.add_class_arguments(ServerConfig, as_group=False)
    try:
        given = parser.parse_args(arguments)
        values = parser.instantiate(given).as_dict()
    except (ArgumentError, OSError, ValueError, TypeError) as error:
        first = " ".join(str(error).split())[:300]
        raise UsageError(f"{first}; run {parser.prog} --help") from error
    values.pop("config", None)
    return checked(ServerConfig(**values))


def checked(config: ServerConfig) -> ServerConfig:
    """The configuration itself, when a server can be run with it.

    Raises:
        UsageError: what is wrong first, and what to do.
    """
    for is_wrong, sentence in _RULES:
        if is_wrong(config):
            raise UsageError(sentence)
    return config


def _is_bad_url(url: str, schemes: str) -> bool:
    return (
        re.fullmatch(rf"(?:{schemes}):[A-Za-z0-9.\-\[\]:]+(?:\?transport=(?:udp|tcp))?", url)
        is None
    )


def _has_bad_limit(config: ServerConfig) -> bool:
    return any(not 0 < value < float("inf") for value in vars(config.limits).values())


_RULES: tuple[tuple[Callable[[ServerConfig], bool], str], ...] = (
    (lambda c: not 0 <= c.port <= 65535, "--port must be from 0 to 65535; 8080 is usual"),
    (
        lambda c: c.max_side_px != 0 and not 64 <= c.max_side_px <= 2048,
        "--max_side_px must be from 64 to 2048, or 0 for what suits this machine",
    ),
    (lambda c: not c.host, "--host is empty; give an address such as 127.0.0.1"),
    (
        lambda c: not c.is_local and not c.token,
        "a --host that others can reach needs a --token; make one with "
        "python -c 'import secrets; print(secrets.token_urlsafe())'",
    ),
    (
        lambda c: bool(c.token) and re.fullmatch(r"[A-Za-z0-9._~+/=-]{8,256}", c.token) is None,
        "--token must be 8 to 256 letters, digits or ._~+/=- signs",
    ),
    (
        lambda c: any(re.fullmatch(r"cpu|cuda(:\d+)?", each) is None for each in c.devices),
        "--device must be cpu, cuda or cuda:N, or several such as cuda:0,cuda:1",
    ),
    (
        lambda c: bool(c.ray) and re.fullmatch(r"local|auto|[^\s/]+:\d{1,5}", c.ray) is None,
        "--ray must be local, auto or HOST:PORT of the head of a cluster",
    ),
    (
        lambda c: bool(c.ray) and c.device not in ("cpu", "cuda"),
        "with --ray, --device is cpu or cuda: the cluster gives each replica a GPU of its own",
    ),
    (lambda c: c.replicas < 1, "--replicas must be at least 1"),
    (
        lambda c: c.replicas > 1 and not c.ray,
        "--replicas are those of --ray; several processes here take --device cuda:0,cuda:1",
    ),
    (lambda c: c.max_sessions < 1, "--max_sessions must be at least 1"),
    (_has_bad_limit, "every one of --limits must be a number above 0"),
    (
        lambda c: c.limits.upload_pixels > MAX_PIXELS,
        f"--limits.upload_pixels can be at most {MAX_PIXELS}",
    ),
    (
        lambda c: not 0 < c.bitrate.least_kbps <= c.bitrate.start_kbps <= c.bitrate.most_kbps,
        "--bitrate needs 0 < least_kbps <= start_kbps <= most_kbps",
    ),
    (
        lambda c: any(_is_bad_url(url, "stuns?") for url in c.ice_servers),
        "--ice_servers takes URLs such as stun:stun.example.org:3478",
    ),
    (
        lambda c: any(_is_bad_url(url, "turns?") for url in c.turn.urls),
        "--turn.urls takes URLs such as turn:turn.example.org:3478?transport=udp",
    ),
    (
        lambda c: bool(c.turn.urls) != bool(c.turn.secret),
        "--turn.urls and --turn.secret are needed together",
    ),
    (
        lambda c: (c.certificate is None) != (c.key is None),
        "--certificate and --key are needed together",
    ),
    (lambda c: not 60 <= c.turn.ttl_s <= 86400, "--turn.ttl_s must be from 60 to 86400"),
)
