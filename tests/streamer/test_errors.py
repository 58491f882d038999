import pytest

from streamer import errors


def test_a_message_of_several_lines_becomes_one_line() -> None:
    assert str(errors.DriverError("what is\nwrong \t here")) == "what is wrong here"


@pytest.mark.parametrize(
    "name",
    ["PortraitError", "DriverError", "OutputError", "ResumeError", "ModelError", "UsageError"],
)
def test_every_error_can_be_caught_as_a_streamer_error(name: str) -> None:
    assert issubclass(getattr(errors, name), errors.StreamerError)
    assert name in (errors.__doc__ or "")
