import io
import math

import pytest
from rich.console import Console

from difffae.metrics import edit_table, paper_table
from difffae.metrics.definitions import definitions
from difffae.metrics.edit_matrix import AttributeDistances, EditMatrix
from difffae.metrics.realism import Realism
from difffae.metrics.report import InstrumentNames, Report
from difffae.metrics.scores import Scores, by_person

STAND_IN = InstrumentNames(
    tracker="facemesh rig (stand-in)",
    embedder="MobileFaceNet",
    realism="SqueezeNet",
    realism_columns=("FD-SqueezeNet", "KD-SqueezeNet x1000"),
)
EDITS = EditMatrix(
    rows={
        "model": {
            "nothing": AttributeDistances(pose=1.0, expression=0.2, light=0.1, shape=0.1, csim=1),
            "pose": AttributeDistances(pose=2.0, expression=0.4, light=0.1, shape=0.2, csim=0.9),
        }
    },
    spread=AttributeDistances(pose=20.0, expression=0.8, light=0.0, shape=0.5, csim=0.1),
    num_pairs=3,
    num_queries=9,
)


def report(instruments: InstrumentNames = STAND_IN) -> Report:
    clips = [
        ("anna", Scores(apd_rad=0.01, aed=0.1, ald=0.2, csim=0.8)),
        ("anna", Scores(apd_rad=0.03, aed=0.3, ald=0.4, csim=0.6)),
        ("bea", Scores(apd_rad=0.05, aed=0.5, csim=0.4)),
    ]
    realism = Realism(frechet=12.345, kernel=6.5, kernel_std=0.25, num_outputs=90, num_real=80)
    return Report(
        title="lite-256",
        rows={"self": {"model": by_person(clips)}},
        settings={},
        cases=[],
        instruments=instruments,
        realism={"self": {"model": realism}},
        edits=EDITS,
    )


def test_a_line_has_the_papers_columns_averaged_over_videos() -> None:
    text = paper_table.markdown_sections(report())
    assert "| protocol | output | FD-SqueezeNet ↓ | APD rad ↓ | AED ↓ | ALD ↓ | CSIM ↑ |" in text
    assert "| self | model | 12.35 | 0.0300 | 0.3000 | 0.3000 | 0.6000 |" in text


def test_the_papers_rows_stand_below_with_what_forbids_comparing() -> None:
    text = paper_table.markdown_sections(report())
    assert "| paper | DiffFAE | 31.83 | 0.0191 | 0.1532 | 0.1511 | 0.9458 |" in text
    assert "| paper | Hou et al. | 49.93 | - | - | 0.1931 | 0.8962 |" in text
    assert "| paper | DiffusionRig | 47.10 | 0.0232 | 0.1727 | 0.1404 | 0.9196 |" in text
    assert "not comparable" in paper_table.NOT_COMPARABLE
    assert text.index(paper_table.NOT_COMPARABLE) > text.index(
        "| paper | DiffFAE, no identity token | - | - | - | - | 0.9309 |"
    )


def test_the_column_is_called_fid_on_inceptions_features_alone() -> None:
    assert paper_table.headings(report(InstrumentNames()))[0] == "FID ↓"
    assert not any("FID" in text for text in paper_table.headings(report()))


def test_more_figures_keep_the_counts_and_the_lines_have_as_many_cells() -> None:
    lines = paper_table.markdown_sections(report())
    more = next(line for line in lines if line.startswith("| self | model | 6.500 | 0.250 "))
    assert more.endswith("| 90 | 3 |")
    heads = [line for line in lines if line.startswith("| protocol")]
    assert more.count("|") == heads[1].count("|")


def test_the_rich_table_has_the_papers_rows_too() -> None:
    console = Console(file=io.StringIO(), width=140)
    console.print(paper_table.table(report()))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    for text in ("FD-SqueezeNet", "0.0300", "StyleHEAT", "0.9458"):
        assert text in printed


def test_the_matrix_marks_what_is_edited_and_gives_shares_of_the_spread() -> None:
    nothing, pose, spread = edit_table.lines(EDITS)
    assert nothing[:4] == ["model", "nothing", "1.00 (0.05)", "0.200 (0.25)"]
    assert nothing[4:] == ["0.1000 (-)", "0.100 (0.20)", "1.000"]
    assert pose[2:4] == ["2.00 (0.10)*", "0.400 (0.50)"]
    assert spread[:3] == ["natural spread", "", "20.00 (1.00)"]
    assert "3 pairs of clips, 9 queries." in "\n".join(edit_table.markdown_sections(EDITS))


def test_definitions_name_tracker_embedder_numbers_and_units() -> None:
    text = "\n".join(definitions(report()))
    for part in (
        "facemesh rig (stand-in)",
        "MobileFaceNet",
        "on SqueezeNet; no unit. N: self 90 outputs a row, 80 real",
        "[rad]",
        "[degrees]",
        "tFD: 100 x mean",
    ):
        assert part in text
    assert "jaw" not in text


def test_definitions_tell_a_jaw_lpips_and_the_want_of_weights() -> None:
    names = InstrumentNames(
        tracker="DECA and FLAME", has_jaw=True, perceptual="LPIPS 0.1 (alexnet)", temporal="tLP"
    )
    text = "\n".join(definitions(report(names)))
    assert "without the jaw, which is reported apart [rad]" in text
    assert (
        "tLP: 100 x mean of |d(o(t-1), o(t)) - d(r(t-1), r(t))| over neighbouring frames, d LP"
        in (text)
    )
    assert "FID and KID: not measured" in text


def test_videos_weigh_alike_while_people_do_in_the_other_table() -> None:
    row = report().rows["self"]["model"]
    assert row.videos.apd_rad == pytest.approx(0.03)
    assert row.mean.apd_rad == pytest.approx((0.02 + 0.05) / 2)
    assert row.num_videos == 3
    assert math.isnan(row.videos.lpips)
