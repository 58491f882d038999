"""Dockerfile, compose.yaml and docs/deploy.md fit the package, as far as can be told unbuilt."""

import asyncio
import fnmatch
import json
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from live_stand_ins import served
from streamer.errors import UsageError
from streamer.ice import ice_servers
from streamer.server_config import ServerConfig, read_config

DOT_ENV = {
    "DOMAIN": "faces.example.org",
    "SERVER_IP": "203.0.113.7",
    "STREAMER_TOKEN": "a-token-of-ours",
    "TURN_SECRET": "a-secret-of-ours",
}


@pytest.fixture(scope="module")
def dockerfile(repository: Path) -> str:
    """Its text, continuation lines joined."""
    return (repository / "Dockerfile").read_text("utf-8").replace("\\\n", " ")


@pytest.fixture(scope="module")
def compose(repository: Path) -> dict[str, Any]:
    """The file as Compose reads it with that .env."""
    text = (repository / "compose.yaml").read_text("utf-8")
    return dict(yaml.safe_load(interpolated(text, DOT_ENV)))


@pytest.fixture(scope="module")
def project(repository: Path) -> dict[str, Any]:
    """pyproject.toml."""
    return tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))


def interpolated(text: str, values: dict[str, str]) -> str:
    """Compose's ${NAME}, ${NAME:-default} and ${NAME:?sentence}."""

    def value(found: re.Match[str]) -> str:
        name, operator, rest = found.groups()
        if name in values:
            return values[name]
        assert operator == ":-", f"{name} has no value"
        return str(rest)

    return re.sub(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}", value, text)


def started(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> ServerConfig:
    """What the server makes of an environment; every STREAMER variable has to count."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    config = read_config([])
    known = set(vars(config)) | {f"turn__{name}" for name in vars(config.turn)}
    ours = {name for name in variables if name.startswith("STREAMER_")}
    assert {name.removeprefix("STREAMER_").lower() for name in ours} <= known
    return config


def image_environment(dockerfile: str) -> dict[str, str]:
    """The ENV of the last stage."""
    last = dockerfile[dockerfile.rindex("\nFROM ") :]
    return dict(re.findall(r"\b([A-Z_]+)=(\S+)", re.findall(r"^ENV (.*)$", last, re.M)[0]))


def test_the_server_of_the_compose_file_starts_as_it_means_to(
    compose: dict[str, Any], dockerfile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = compose["services"]["server"]
    config = started({**image_environment(dockerfile), **service["environment"]}, monkeypatch)
    assert (config.host, config.token) == ("127.0.0.1", DOT_ENV["STREAMER_TOKEN"])
    assert config.allowed_hosts == (DOT_ENV["DOMAIN"],)
    assert config.log_folder.is_relative_to("/data")
    assert "server-data:/data" in service["volumes"]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["shm_size"] == "1gb"
    assert f"127.0.0.1:{config.port}" in compose["services"]["tls"]["command"]


def test_server_and_relay_share_secret_and_port(
    compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = compose["configs"]["turn"]["content"].splitlines()
    config = started(compose["services"]["server"]["environment"], monkeypatch)
    assert "use-auth-secret" in relay
    assert f"static-auth-secret={config.turn.secret}" in relay
    assert config.turn.secret == DOT_ENV["TURN_SECRET"]
    (server,) = ice_servers(config, who="x", now_s=0.0)
    port = next(line.partition("=")[2] for line in relay if line.startswith("listening-port="))
    assert all(f":{port}?" in url for url in server["urls"])
    assert f"allowed-peer-ip={DOT_ENV['SERVER_IP']}" in relay
    assert "denied-peer-ip=0.0.0.0-255.255.255.255" in relay


def test_every_service_is_on_the_host_s_network_and_publishes_nothing(
    compose: dict[str, Any],
) -> None:
    for name, service in compose["services"].items():
        assert service["network_mode"] == "host", name
        assert "ports" not in service, name


@pytest.mark.parametrize("missing", sorted(DOT_ENV))
def test_compose_refuses_an_env_file_without(missing: str, repository: Path) -> None:
    text = (repository / "compose.yaml").read_text("utf-8")
    assert f"${{{missing}:?" in text


def test_the_image_alone_refuses_to_start_without_a_token(
    dockerfile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="--token"):
        started(image_environment(dockerfile), monkeypatch)
    monkeypatch.setenv("STREAMER_TOKEN", "a-token-of-ours")
    assert not started(image_environment(dockerfile), monkeypatch).is_local


def test_the_image_does_not_run_as_root(dockerfile: str) -> None:
    users = re.findall(r"^USER (\S+)$", dockerfile, re.M)
    assert users == ["streamer"]
    assert dockerfile.index("USER streamer") < dockerfile.index("ENTRYPOINT")
    assert "useradd --create-home --uid 10001 streamer" in dockerfile


def test_what_is_copied_exists_is_sent_and_is_what_the_wheel_needs(
    dockerfile: str, project: dict[str, Any], repository: Path
) -> None:
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.M)
    copied = {name for line in copies for name in line.split()}
    sent = [
        line[1:]
        for line in (repository / ".dockerignore").read_text("utf-8").splitlines()
        if line.startswith("!")
    ]
    assert copied == set(sent)
    assert [name for name in copied if not (repository / name).exists()] == []
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*wheel["packages"], *wheel["force-include"], project["project"]["readme"]}
    assert needed | {"pyproject.toml", *project["project"]["license-files"]} <= copied


def test_nothing_private_is_sent_to_the_builder(repository: Path) -> None:
    lines = (repository / ".dockerignore").read_text("utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    for name in (".env", ".git", "models", "runs", ".venv"):
        assert not any(fnmatch.fnmatch(name, rule[1:]) for rule in rules if rule[0] == "!")


def test_the_image_has_the_project_s_python_torch_and_extras(
    dockerfile: str, project: dict[str, Any]
) -> None:
    (python,) = re.findall(r"^ARG PYTHON=(\d+\.\d+)-slim", dockerfile, re.M)
    assert project["project"]["requires-python"].startswith(f">={python},")
    (torch,) = (each for each in project["project"]["dependencies"] if each.startswith("torch>"))
    assert f'"{torch}"' in dockerfile
    (extras,) = re.findall(r"^ARG EXTRAS=(\S+)$", dockerfile, re.M)
    assert set(extras.split(",")) <= set(project["project"]["optional-dependencies"])


@pytest.fixture
def answering() -> Iterator[tuple[int, list[int], list[str]]]:
    """A port, what is answered there next, and what was asked."""
    answers, asked = [200], list[str]()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.headers['Host']} {self.path}")
            self.send_response(answers[0])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port, answers, asked
        server.shutdown()
        thread.join()


def test_the_health_check_tells_a_healthy_server_from_others(
    dockerfile: str, answering: tuple[int, list[int], list[str]], tmp_path: Path
) -> None:
    (command,) = re.findall(r"HEALTHCHECK .*CMD (\[.*\])$", dockerfile, re.M)
    words = json.loads(command)
    assert words[0] == "python"
    port, answers, asked = answering
    environment = {"STREAMER_HOST": "0.0.0.0", "STREAMER_PORT": str(port)}
    codes = []
    for answers[0] in (200, 503):
        ran = subprocess.run([sys.executable, *words[1:]], env=environment, capture_output=True)
        codes.append(ran.returncode)
    assert codes == [0, 1]
    assert asked == [f"0.0.0.0:{port} /healthz"] * 2

    async def ask() -> list[int]:
        token, allowed_hosts = "a-token-of-ours", ("a.example",)
        async with served(
            tmp_path, host="0.0.0.0", token=token, allowed_hosts=allowed_hosts
        ) as stage:
            statuses = []
            for host in ("0.0.0.0:8080", "a.example", "evil.example"):
                got = await stage.client.get("/healthz", headers={"Host": host})
                statuses.append(got.status)
            return statuses

    assert asyncio.run(ask()) == [200, 200, 403]


def test_every_variable_and_metric_that_the_document_names_exists(repository: Path) -> None:
    text = (repository / "docs" / "deploy.md").read_text("utf-8")
    config = ServerConfig()
    known = {name.upper() for name in vars(config)}
    known |= {f"TURN__{name.upper()}" for name in vars(config.turn)}
    named = set(re.findall(r"STREAMER_([A-Z_]+)", text))
    assert len(named) >= 3
    assert named <= known
    metrics = (repository / "streamer" / "prometheus.py").read_text("utf-8")
    for metric in re.findall(r"`(streamer_[a-z_]+)", text):
        assert f'"{metric.removesuffix("_total")}"' in metrics, metric
