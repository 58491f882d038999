"""The command runs each of its functions by name and answers a user's error with one line."""

import pytest

from difffae.benchmark.__main__ import COMMANDS, main


def test_every_command_is_the_function_of_the_module_of_its_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["--help"])
    assert leaving.value.code == 0
    told = capsys.readouterr().out
    assert all(name in told for name in COMMANDS)


def test_the_peak_of_each_type_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["peak", "--seconds", "0.001"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["fp32", "bf16"]


def test_a_users_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["peak", "--seconds", "0"]) == 2
    assert capsys.readouterr().err.startswith("error: got ")
