"""The tables and the JSON of a comparison, from made-up times."""

import io
import json

import pytest
from rich.console import Console
from rich.table import Table

from difffae.benchmark.interleaved import Contender, Figures, Part, PartFigures
from difffae.benchmark.peers import Comparison, as_json, compare, overview, part_table


def part(name: str, ms: float, times_a_frame: int = 1, published: int | None = None) -> PartFigures:
    return PartFigures(
        name=name,
        times_a_frame=times_a_frame,
        parameters=1_234_567,
        published_parameters=published,
        flops=2_000_000_000,
        ms=ms,
        cpu_ms=2 * ms,
        num_runs=7,
    )


@pytest.fixture
def comparison() -> Comparison:
    own = Figures(name="ours, 1 step", runtime="as shipped", parts=(part("frame", 40.0),))
    parts = (part("once", 999.0, 0, published=1_230_000), part("step", 100.0, 50))
    other = Figures(name="theirs, 50 steps", runtime="eager, bf16", parts=parts)
    return Comparison(machine=("a processor",), load=(0.5, 2.0), figures=(own, other))


def printed(table: Table) -> list[list[str]]:
    console = Console(file=io.StringIO(), width=200)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if "│" in line]


def test_a_row_says_how_long_a_frame_takes_and_how_often_that_is_the_first_ones(
    comparison: Comparison,
) -> None:
    assert printed(overview(comparison)) == [
        ["ours, 1 step", "as shipped", "40.0", "80.0", "25", "1,234,567", "2.0", "1.0", "1.0"],
        [
            *("theirs, 50 steps", "eager, bf16", "5,000.0", "10,000.0"),
            *("0.2", "1,234,567", "100.0", "125.0", "125.0"),
        ],
    ]


def test_parts_stand_beside_what_is_published_of_them(comparison: Comparison) -> None:
    assert printed(part_table(comparison))[1:] == [
        [
            *("theirs, 50 steps", "once", "once a source", "999.0", "1,998.0", "7"),
            *("1,234,567", "1.23 M", "2.00"),
        ],
        ["theirs, 50 steps", "step", "× 50", "100.0", "200.0", "7", "1,234,567", "", "2.00"],
    ]


def test_the_json_holds_every_part_and_the_sums_of_a_frame(comparison: Comparison) -> None:
    told = json.loads(as_json(comparison))
    assert told["machine"] == ["a processor"]
    first, second = told["figures"]
    assert (first["frame_ms"], first["factor"]) == (40.0, 1.0)
    assert (second["frame_ms"], second["factor"]) == (5000.0, 125.0)
    assert second["frame_flops"] == 100_000_000_000
    assert second["parts"][0]["published_parameters"] == 1_230_000


def test_a_comparison_names_the_machine_and_runs_everything() -> None:
    ran: list[str] = []
    frame = Part(name="frame", run=lambda: ran.append("frame"), parameters=1, flops=2)
    model = Contender(name="toy", runtime="none", parts=(frame,))
    comparison = compare([model], num_rounds=2, share_s=0)
    assert len(ran) == 3
    assert comparison.figures[0].parts[0].num_runs == 2
    assert any(fact.startswith("torch ") for fact in comparison.machine)
    assert any("threads" in fact for fact in comparison.machine)
