"""Run-time checks of array shapes and element types, on in all tests."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from beartype import beartype
from jaxtyping import AbstractArray


def mentions_array(hint: object) -> bool:
    """Whether an annotation holds a jaxtyping array, at any depth."""
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return True
    return any(mentions_array(part) for part in get_args(hint))


def check_arrays(function: Callable[..., Any]) -> Callable[..., Any]:
    """Have beartype check the array annotations of a function, and leave the rest to mypy.

    Tests may so hand a wrong word or number to a function and assert the ValueError it raises.
    """
    hints = function.__annotations__
    function.__annotations__ = {name: hint for name, hint in hints.items() if mentions_array(hint)}
    return beartype(function)


def checked_modules(package: Path) -> list[str]:
    """Name the modules whose array shapes are checked at run time.

    Left out are package files, whose name would cover all below them, and modules that numba
    compiles, since numba cannot compile the checking wrapper.
    """
    return [
        ".".join(file.relative_to(package.parent).with_suffix("").parts)
        for file in sorted(package.rglob("*.py"))
        if file.name != "__init__.py"
        and not re.search(r"^\s*(import|from) numba\b", file.read_text("utf-8"), re.MULTILINE)
    ]
