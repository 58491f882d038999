"""Points land where their axes say, ticks are round, and the picture is well-formed."""

import math
from xml.etree import ElementTree

import pytest

from streamer.bench.chart import (
    PANEL_HEIGHT,
    PANEL_WIDTH,
    Axis,
    Curve,
    Panel,
    draw,
    x_axis,
    y_axis,
)

SVG = "{http://www.w3.org/2000/svg}"


def panel(*points: tuple[float, float], title: str = "time, s") -> Panel:
    return Panel(title=title, x_label="frames", curves=(Curve(name="", points=points),))


def circles(text: str) -> list[tuple[float, float]]:
    root = ElementTree.fromstring(text)
    return [(float(one.attrib["cx"]), float(one.attrib["cy"])) for one in root.iter(f"{SVG}circle")]


def test_equal_factors_are_equal_ways_across() -> None:
    axis = x_axis([1, 100])
    assert axis.share(10) == pytest.approx(0.5)
    (left, _), (middle, _), (right, _) = circles(draw([panel((1, 1), (10, 2), (100, 3))]))
    assert middle - left == pytest.approx(right - middle, abs=0.2)


def test_small_differences_are_shown_from_zero_and_large_ones_by_powers_of_ten() -> None:
    assert y_axis([5, 100]) == Axis(least=0.0, most=pytest.approx(110), is_log=False)
    assert y_axis([2, 900]) == Axis(least=1.0, most=1000.0, is_log=True)


def test_values_of_zero_alone_have_an_axis() -> None:
    assert y_axis([0, 0]).most > 0


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [
        (Axis(least=0, most=110, is_log=False), [0, 50, 100]),
        (Axis(least=0, most=0.9, is_log=False), [0, 0.5]),
        (Axis(least=0, most=4, is_log=False), [0, 1, 2, 3, 4]),
        (Axis(least=1, most=1000, is_log=True), [1, 10, 100, 1000]),
    ],
)
def test_ticks_are_round(axis: Axis, ticks: list[float]) -> None:
    assert axis.ticks() == pytest.approx(ticks)


def test_higher_values_stand_higher_and_all_within_their_panel() -> None:
    text = draw([panel((1, 1), (2, 5))] * 4)
    found = circles(text)
    assert all(0 < x < PANEL_WIDTH and 0 < y < PANEL_HEIGHT for x, y in found)
    assert found[1][1] < found[0][1]
    assert f'viewBox="0 0 {3 * PANEL_WIDTH} {2 * PANEL_HEIGHT}"' in text


def test_numbers_that_would_overlap_are_left_out_and_names_are_not() -> None:
    curves = tuple(Curve(name=name, points=((10, 1), (500, 2), (510, 3))) for name in ("a", "b"))
    root = ElementTree.fromstring(draw([Panel(title="t", x_label="x", curves=curves)]))
    words = {one.text for one in root.iter(f"{SVG}text")}
    assert {"10", "500"} <= words
    assert "510" not in words
    assert [one.text for one in root.iter(f"{SVG}tspan")] == ["a", "b"]


def test_points_without_a_value_are_left_out() -> None:
    assert len(circles(draw([panel((1, 1), (2, math.nan), (3, 2))]))) == 2


def test_words_are_escaped() -> None:
    root = ElementTree.fromstring(draw([panel((1, 1), title="a < b & c")]))
    assert "a < b & c" in [one.text for one in root.iter(f"{SVG}text")]


def test_a_panel_without_points_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one"):
        draw([panel()])
