"""The page in a real browser with a fake camera, against a small fake server."""

import json
from pathlib import Path
from typing import Any

import pytest

from streamer.bench.browser import (
    NUM_DECODED,
    Browser,
    missing_program,
)
from webclient.fake_server import CONSENT, CONSENT_HASH, FakeServer, portrait_picture
from webclient.page_steps import (
    IS_LIVE,
    MOVE_SLIDER,
    controls_sent,
    server_has,
    server_was_told_of_sound,
    show,
    start,
    start_and_wait,
)

pytestmark = pytest.mark.skipif(
    missing_program() is not None, reason=f"needs {missing_program()}, which is not installed"
)
STATE = "document.getElementById('state').textContent"
NOTICE = "document.getElementById('notice-text').textContent"


def test_it_loads_without_console_messages_and_asks_no_other_host(
    page: Browser, server: FakeServer
) -> None:
    assert page.logged("browser") == []
    asked = [
        message["params"]["request"]["url"]
        for entry in page.logged("performance")
        if (message := json_message(entry))["method"] == "Network.requestWillBeSent"
        and message["params"]["documentURL"].startswith(server.url)
    ]
    assert f"{server.url}static/main.js" in asked
    assert [url for url in asked if not url.startswith(server.url)] == []


def json_message(entry: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(entry["message"])["message"]
    return message


def test_start_waits_for_portrait_and_consent(page: Browser) -> None:
    is_disabled = "return document.getElementById('start').disabled"
    assert page.script("return document.getElementById('consent-text').textContent") == CONSENT
    assert page.script(is_disabled)
    page.click(".portrait")
    assert page.script(is_disabled)
    assert page.script("return document.getElementById('start-note').textContent") == (
        "Tick the consent first."
    )
    page.click("#consent")
    assert not page.script(is_disabled)
    page.click("#consent")
    assert page.script(is_disabled)


def test_the_portrait_streams_and_the_offer_says_what_was_chosen(
    page: Browser, server: FakeServer
) -> None:
    start_and_wait(page)
    first = page.script(NUM_DECODED)
    page.wait(f"(async () => {{ {NUM_DECODED} }})().then((now) => now > arguments[0] + 5)", first)
    offer = server.behaviour.offers[0]
    assert (offer["portrait"], offer["consent"], offer["mirror"]) == ("anna", CONSENT_HASH, True)
    assert "m=video" in offer["sdp"]
    assert "m=audio" in offer["sdp"]
    assert "m=application" in offer["sdp"]
    receiver = "window.peers.at(-1).getReceivers()[0]"
    assert page.script(f"return {receiver}.jitterBufferTarget") == 0


def test_the_camera_sends_no_more_than_the_server_can_use(
    page: Browser, server: FakeServer
) -> None:
    start_and_wait(page)
    encoding = "window.peers.at(-1).getSenders()[0].getParameters().encodings[0]"
    for camera_fps, wanted in ((17, "17"), (12, "12"), (None, "undefined")):
        server.behaviour.camera_fps = camera_fps
        page.wait(f"{encoding}.maxFramerate === {wanted}")
    first = page.script(NUM_DECODED)
    page.wait(f"(async () => {{ {NUM_DECODED} }})().then((now) => now > arguments[0] + 5)", first)


def test_ones_own_sound_comes_back_only_while_it_is_played(
    page: Browser, server: FakeServer
) -> None:
    start_and_wait(page)
    for wanted in (["off"], ["off", "on"], ["off", "on", "off"]):
        server_was_told_of_sound(server, page, wanted)
        page.click("#sound")
    server.cut()
    server_was_told_of_sound(server, page, ["off", "on", "off", "on", "on"])


def test_a_slider_sends_its_value_and_takes_it_back_on_the_servers_error(
    page: Browser, server: FakeServer
) -> None:
    start_and_wait(page)
    shown = "Number(document.querySelector('input[name=strength]').value)"
    error = "document.getElementById('controls-error').textContent"
    page.script(MOVE_SLIDER, 2)
    assert "too much for this test" in page.wait(error)
    page.wait(f"{shown} !== 2")
    page.script(MOVE_SLIDER, 1.5)
    page.wait(f"{error} === ''")
    assert page.script(f"return {shown}") == 1.5
    assert controls_sent(server)[-2:] == [{"strength": 2}, {"strength": 1.5}]


def test_a_full_server_is_counted_down_and_tried_again(page: Browser, server: FakeServer) -> None:
    server.behaviour.num_full = 1
    start(page)
    assert "again in" in page.wait("document.getElementById('countdown').textContent")
    assert page.script(f"return {STATE}") == "All places are taken; please wait."
    page.wait(IS_LIVE)
    assert page.script("return document.getElementById('countdown').textContent") == ""


def test_a_lost_connection_comes_back_with_the_controls_as_they_were(
    page: Browser, server: FakeServer
) -> None:
    start_and_wait(page)
    page.script(MOVE_SLIDER, 0.75)
    page.wait("document.querySelector('output').value === '0.75'")
    server_has(server, page, {"strength": 0.75})
    page.script(MOVE_SLIDER, 2)
    page.wait("document.getElementById('controls-error').textContent")  # so the first is acked
    server.behaviour.requests.clear()
    server.cut()
    page.wait("document.getElementById('state-line').dataset.state === 'busy'")
    page.wait(IS_LIVE)
    assert len(server.behaviour.offers) == 2
    server_has(server, page, {"strength": 0.75})
    first = page.script(NUM_DECODED)
    page.wait(f"(async () => {{ {NUM_DECODED} }})().then((now) => now > arguments[0])", first)


def test_a_state_said_before_the_channel_was_open_is_asked_for(
    page: Browser, server: FakeServer
) -> None:
    server.behaviour.is_state_sent = False
    start(page)
    page.wait(IS_LIVE)
    assert page.script(f"return {STATE}") == "Asked for."


def test_the_servers_states_are_said_in_words(page: Browser, server: FakeServer) -> None:
    start_and_wait(page)
    server.say({"type": "state", "state": "recovering", "message": ""})
    page.wait(f"{STATE}.includes('starting again')")
    assert not page.script("return document.getElementById('veil').hidden")
    server.say({"type": "state", "state": "face_lost", "message": "Where are you?"})
    page.wait(f"{STATE} === 'Where are you?'")
    server.say({"type": "state", "state": "closed", "message": "Your time is over."})
    page.wait(f"{NOTICE} === 'Your time is over.'")
    page.wait("!document.getElementById('start-row').hidden")
    assert len(server.behaviour.offers) == 1


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("NotAllowedError", "allow it for this page"),
        ("NotFoundError", "plug one in"),
        ("NotReadableError", "close that one"),
    ],
)
def test_a_camera_that_fails_is_a_sentence_with_advice(
    page: Browser, server: FakeServer, name: str, advice: str
) -> None:
    page.script(
        "navigator.mediaDevices.getUserMedia = async () => {"
        f"throw new DOMException('no', '{name}'); }}"
    )
    start(page)
    assert advice in page.wait(NOTICE)
    assert not page.script("return document.getElementById('start').disabled")
    assert server.behaviour.offers == []


def test_a_picture_of_ones_own_waits_for_consent_and_survives_a_new_server(
    page: Browser, server: FakeServer, tmp_path: Path
) -> None:
    portrait_picture((200, 150, 120)).save(tmp_path / "me.png")
    page.give_file("#file", tmp_path / "me.png")
    page.wait("document.getElementById('upload-note').textContent.includes('Tick the consent')")
    assert server.behaviour.uploads == []
    page.click("#consent")
    page.wait("document.querySelectorAll('.portrait').length === 4")
    page.wait("!document.getElementById('start').disabled")
    (uploaded,) = server.behaviour.uploads
    server.behaviour.uploads.clear()
    page.click("#start")
    page.wait(IS_LIVE)
    assert server.behaviour.uploads == [uploaded]
    assert server.behaviour.offers[0]["portrait"] == uploaded


def test_the_token_is_asked_for_and_leaves_the_address(window: Browser, server: FakeServer) -> None:
    server.behaviour.token = "secret"
    window.open(server.url)
    window.wait("!document.getElementById('token-card').hidden")
    assert "enter the one it printed" in window.script(f"return {STATE}")
    show(window, f"{server.url}?token=secret")
    assert window.script("return location.href") == server.url
    assert window.script("return document.getElementById('token-card').hidden")
    window.open("about:blank")


def test_keys_act_but_not_while_typing(page: Browser, server: FakeServer) -> None:
    chosen = "document.querySelector('input[name=portrait]:checked')?.value"
    page.script("document.getElementById('token-card').hidden = false")
    page.script("document.getElementById('token').focus()")
    page.press("2")
    assert page.script(f"return {chosen} ?? null") is None
    page.script("document.activeElement.blur()")
    page.press("2")
    page.wait(f"{chosen} === 'ben'")
    page.press("?")
    page.wait("document.getElementById('help').open")
    page.click("#help button")
    page.wait("!document.getElementById('help').open")
    start_and_wait(page)
    page.press("x")
    page.press("3")
    page.press("s")
    page.wait("document.getElementById('stats-table').innerText.includes('round trip')")
    asked = [{**request, "id": 0} for request in server.behaviour.requests]
    assert {"id": 0, "type": "reference", "action": "set"} in asked
    assert {"id": 0, "type": "portrait", "portrait": "chen"} in asked


def test_stop_ends_the_session_and_turns_the_camera_off(page: Browser, server: FakeServer) -> None:
    start_and_wait(page)
    page.script("window.track = document.getElementById('preview').srcObject.getVideoTracks()[0]")
    page.click("#stop")
    page.wait("!document.getElementById('start-row').hidden")
    assert page.script("return window.track.readyState") == "ended"
    page.wait("window.peers.at(-1).connectionState === 'closed'")
    assert page.script("return document.activeElement.id") == "start"
    assert len(server.behaviour.offers) == 1


def test_recording_is_offered_only_by_a_server_that_can(page: Browser, server: FakeServer) -> None:
    assert page.script("return document.getElementById('record').disabled")
    server.behaviour.can_record = True
    show(page, server.url)
    start_and_wait(page)
    page.click("#record")
    page.wait("document.getElementById('record').textContent.startsWith('Stop recording')")
    assert page.script("return document.getElementById('record-view').disabled")
    page.click("#record")
    page.wait("document.getElementById('downloads').textContent.includes('Download recording 1')")
    page.script("document.getElementById('record-view').value = 'side_by_side'")
    page.press("v")
    page.wait("document.getElementById('record').getAttribute('aria-pressed') === 'true'")
    page.press("v")
    page.wait("document.querySelectorAll('#downloads a').length === 2")
    link = "return document.querySelector('#downloads a').getAttribute('href')"
    assert page.script(link) == "/static/icon.svg"
    asked = [each for each in server.behaviour.requests if each["type"] == "recording"]
    assert [(each["action"], each.get("view")) for each in asked] == [
        ("start", "edited"),
        ("stop", None),
        ("start", "side_by_side"),
        ("stop", None),
    ]


def test_a_recording_that_the_server_ended_is_said_and_offered(
    page: Browser, server: FakeServer
) -> None:
    server.behaviour.can_record = True
    show(page, server.url)
    start_and_wait(page)
    page.click("#record")
    page.wait("document.getElementById('record').textContent.startsWith('Stop recording')")
    server.behaviour.recording = {
        "is_recording": True,
        "seconds": 61.4,
        "download": "/static/icon.svg",
    }
    page.wait("document.getElementById('record-time').textContent === '1:01'")
    message = "it reached its longest duration, 600 s"
    server.behaviour.recording = {
        **server.behaviour.recording,
        "is_recording": False,
        "message": message,
    }
    page.wait(f"{NOTICE}.includes('{message}')")
    page.wait("document.getElementById('downloads').textContent.includes('portrait only, 1:01')")
    assert page.script("return document.getElementById('record').textContent").startswith("Record")


def test_a_recording_of_a_lost_connection_is_offered(page: Browser, server: FakeServer) -> None:
    server.behaviour.can_record = True
    show(page, server.url)
    start_and_wait(page)
    page.press("v")
    page.wait("document.getElementById('record').textContent.startsWith('Stop recording')")
    page.script(
        "window.peers.at(-1).close(); window.peers.at(-1).dispatchEvent(new Event('renew'))"
    )
    page.wait("document.querySelectorAll('#downloads a').length === 1")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(page: Browser, scheme: str) -> None:
    page.resize(360, 740)
    page.prefer(scheme)
    width = "return document.documentElement.scrollWidth"
    assert page.script(width) == 360
    start_and_wait(page)
    page.press("s")
    assert page.script(width) == 360


def test_every_control_has_a_name_for_screen_readers(page: Browser) -> None:
    start_and_wait(page)
    page.press("s")
    page.script("document.getElementById('help').showModal()")
    page.script("document.getElementById('help').close()")
    page.devtools("Accessibility.enable")
    roles = {"button", "checkbox", "combobox", "link", "radio", "slider", "switch", "textbox"}
    nodes = page.devtools("Accessibility.getFullAXTree")["nodes"]
    found = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in roles
    ]
    page.devtools("Accessibility.disable")
    assert len(found) > 20
    assert [role for role, name in found if not name.strip()] == []
    assert ("slider", "Strength") in found
    assert ("radio", "Anna") in found
