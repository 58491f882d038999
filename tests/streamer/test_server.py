import asyncio
import base64
import hashlib
import hmac
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from live_stand_ins import FakeCompute, FakePeers
from streamer import server
from streamer.errors import ModelError, UsageError
from streamer.ice import ice_servers
from streamer.server_config import ServerConfig, Turn, default_side_px, read_config


def test_the_server_s_process_holds_no_model() -> None:
    code = (
        "import sys, streamer.server; print({'torch', 'mediapipe', 'difffae'} & set(sys.modules))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True
    )
    assert ran.stdout.strip() == "set()"


def test_a_running_server_prints_its_address_and_stops_when_told(tmp_path: Path) -> None:
    lines: list[str] = []
    compute = FakeCompute()
    config = ServerConfig(port=0, log_folder=tmp_path)

    async def act() -> int:
        stopping, is_open = asyncio.Event(), asyncio.Event()

        def tell(line: str) -> None:
            lines.append(line)
            if line == "ready":
                is_open.set()

        running = asyncio.create_task(
            server.serve(
                config, compute=compute, make_peer=FakePeers(), tell=tell, stopping=stopping
            )
        )
        await is_open.wait()
        address = lines[0].removeprefix("open ")
        async with aiohttp.ClientSession() as client, client.get(f"{address}readyz") as answer:
            status = answer.status
        stopping.set()
        await running
        return status

    assert asyncio.run(act()) == 200
    assert lines[0].startswith("open http://127.0.0.1:")
    assert not compute.is_ready


def test_a_model_that_cannot_start_ends_the_server(tmp_path: Path) -> None:
    class Broken(FakeCompute):
        async def start(self) -> None:
            raise ModelError("the weights are damaged; download them again")

    config = ServerConfig(port=0, log_folder=tmp_path)
    with pytest.raises(ModelError, match="damaged"):
        asyncio.run(
            server.serve(
                config,
                compute=Broken(),
                make_peer=FakePeers(),
                tell=lambda line: None,
                stopping=asyncio.Event(),
            )
        )


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    async def act() -> None:
        taken = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        config = ServerConfig(port=taken.sockets[0].getsockname()[1], log_folder=tmp_path)
        async with taken:
            await server.serve(
                config,
                compute=FakeCompute(),
                make_peer=FakePeers(),
                tell=lambda line: None,
                stopping=asyncio.Event(),
            )

    with pytest.raises(UsageError, match="choose another --port"):
        asyncio.run(act())


def test_a_wrong_option_exits_with_2_and_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert server.main(["--port", "x"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--port", "70000"], "from 0 to 65535"),
        (["--bogus", "1"], "bogus"),
        (["--host", "0.0.0.0"], "needs a --token"),
        (["--token", "short"], "8 to 256"),
        (["--token", "with space in it"], "8 to 256"),
        (["--device", "tpu"], "cpu, cuda"),
        (["--max_side_px", "63"], "64 to 2048"),
        (["--max_sessions", "0"], "at least 1"),
        (["--limits.idle_s", "0"], "above 0"),
        (["--limits.upload_pixels", "99999999999"], "at most"),
        (["--bitrate.least_kbps", "9000"], "least_kbps"),
        (["--ice_servers", "[http://a]"], "stun:"),
        (["--turn.urls", "[turn:a.b]"], "together"),
        (["--turn.ttl_s", "1"], "86400"),
        (["--config", "/nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(arguments: list[str], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        read_config(arguments)
    assert "\n" not in str(caught.value)


def test_options_go_over_the_environment_and_that_over_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "server.yaml"
    file.write_text("port: 1001\nmax_sessions: 5\nlimits: {idle_s: 7}\n", "utf-8")
    monkeypatch.setenv("STREAMER_TOKEN", "from-the-environment")
    config = read_config(["--config", str(file), "--port", "1002"])
    assert (config.port, config.max_sessions, config.limits.idle_s) == (1002, 5, 7)
    assert config.token == "from-the-environment"
    assert "from-the" not in repr(config)


def test_relays_have_names_that_expire_and_passwords_made_with_the_secret() -> None:
    turn = Turn(urls=("turn:relay.example:3478",), secret="shared", ttl_s=600)
    config = ServerConfig(ice_servers=("stun:stun.example:3478",), turn=turn)
    plain, relay = ice_servers(config, who="abc", now_s=1000.9)
    assert plain == {"urls": ["stun:stun.example:3478"]}
    assert relay["username"] == "1600:abc"
    expected = hmac.new(b"shared", b"1600:abc", hashlib.sha1).digest()
    assert base64.b64decode(relay["credential"]) == expected


def test_a_default_server_names_no_ice_server() -> None:
    assert ice_servers(ServerConfig(), who="abc", now_s=0) == []


@pytest.mark.parametrize(
    ("arguments", "kind", "num_members"),
    [
        ([], "ComputeProcess", None),
        (["--device", "cuda:0,cuda:1"], "ComputePool", 2),
        (["--ray", "local", "--replicas", "3"], "RayCompute", 3),
    ],
)
def test_the_options_choose_what_serves_the_model(
    arguments: list[str], kind: str, num_members: int | None
) -> None:
    async def act() -> None:
        compute = server.make_compute(read_config(arguments))
        assert type(compute).__name__ == kind
        if num_members is not None:
            assert len(compute.num_sessions) == num_members  # type: ignore[attr-defined]

    asyncio.run(act())


@pytest.mark.parametrize(
    "arguments",
    [
        ["--device", "cuda:0,"],
        ["--device", "cpu,tpu"],
        ["--ray", "ray://there:10001"],
        ["--ray", "there"],
        ["--ray", "local", "--device", "cuda:1"],
        ["--ray", "local", "--replicas", "0"],
        ["--replicas", "2"],
    ],
)
def test_what_cannot_serve_the_model_is_refused(arguments: list[str]) -> None:
    with pytest.raises(UsageError, match=r"--device|--ray|--replicas"):
        read_config(arguments)


@pytest.mark.parametrize(
    ("device", "num_cores", "side_px"), [("cpu", 2, 384), ("cpu", 4, 720), ("cuda:0", 2, 720)]
)
def test_portraits_are_shown_smaller_where_cores_are_few(
    device: str, num_cores: int, side_px: int
) -> None:
    assert default_side_px(device, num_cores) == side_px
