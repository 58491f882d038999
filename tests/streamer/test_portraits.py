import asyncio
from pathlib import Path

import pytest

from live_stand_ins import picture
from streamer.consent import CONSENT_SHA256, SessionLog, is_consent
from streamer.errors import OutputError
from streamer.portraits import Portraits, bundled_people
from streamer.server_config import Limits

SIDE_BYTES = 96 * 96 * 3


@pytest.mark.parametrize(
    "limits", [Limits(num_portraits=2), Limits(portraits_bytes=2 * SIDE_BYTES)], ids=str
)
def test_past_the_limits_the_upload_unused_for_longest_goes(limits: Limits) -> None:
    async def act() -> list[bool]:
        portraits = Portraits(limits, {})
        known = []
        for shade in (10, 20, 30):
            portrait = await portraits.decode(picture(shade))
            portraits.keep(portrait)
            known.append(portrait.identifier)
            await portraits.get(known[0])
        return [await portraits.get(identifier) is not None for identifier in known]

    assert asyncio.run(act()) == [True, False, True]


def test_an_upload_s_id_is_that_of_its_pixels_whatever_the_file() -> None:
    async def act() -> list[str]:
        portraits = Portraits(Limits(), {})
        files = [picture(7), picture(7, kind="PNG") + b"more", picture(8)]
        return [(await portraits.decode(data)).identifier for data in files]

    first, again, other = asyncio.run(act())
    assert first == again
    assert first != other


def test_bundled_people_are_files_and_none_is_made_up() -> None:
    people = bundled_people()
    assert all(path.is_file() for path in people.values())
    assert list(people) == sorted(people)


def test_only_the_hash_of_today_s_text_is_consent() -> None:
    assert is_consent(CONSENT_SHA256)
    for given in (None, 1, "", CONSENT_SHA256.upper(), CONSENT_SHA256[:-1], "\ud800"):
        assert not is_consent(given)


def test_the_record_is_appended_to_and_private(tmp_path: Path) -> None:
    log = SessionLog(tmp_path / "log")
    log.prepare()

    async def act() -> None:
        await asyncio.gather(*(log.write({"number": number}) for number in range(50)))
        await SessionLog(tmp_path / "log").write({"text": "a\nb"})

    asyncio.run(act())
    lines = log.path.read_text("utf-8").splitlines()
    assert len(lines) == 51
    assert lines[-1] == '{"text": "a\\nb"}'
    assert log.path.stat().st_mode & 0o777 == 0o600


def test_a_record_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("in the way", "utf-8")
    with pytest.raises(OutputError, match="--log_folder"):
        SessionLog(tmp_path / "log").prepare()


def test_the_record_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("", "utf-8")
    (tmp_path / "sessions.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError):
        SessionLog(tmp_path).prepare()
