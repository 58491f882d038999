import numpy as np
import pytest

from difffae.metrics.grid import LABEL_HEIGHT_PX, GridRow, draw_grid


def row(label: str, *levels: int) -> GridRow:
    pictures = {
        f"column {i}": np.full((40, 60, 3), level, np.uint8) for i, level in enumerate(levels)
    }
    return GridRow(label=label, pictures=pictures)


def test_pictures_stand_in_their_rows_and_columns() -> None:
    grid = draw_grid([row("one", 10, 20), row("two", 30, 40)])
    assert grid.shape == (LABEL_HEIGHT_PX + 2 * (40 + LABEL_HEIGHT_PX), 120, 3)
    top = LABEL_HEIGHT_PX
    assert (grid[top : top + 40, :60] == 10).all()
    assert (grid[top : top + 40, 60:] == 20).all()
    below = top + 40 + LABEL_HEIGHT_PX
    assert (grid[below : below + 40, 60:] == 40).all()
    assert grid[:LABEL_HEIGHT_PX].any()


def test_rows_of_different_columns_and_no_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        draw_grid([row("one", 10, 20), row("two", 30)])
    with pytest.raises(ValueError, match="no rows"):
        draw_grid([])
