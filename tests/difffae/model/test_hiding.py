"""What is left of a picture when a region is hidden, on masks drawn by hand."""

import torch

from difffae.model.hiding import hidden_area, hide_person, hide_picture

#  face in the middle, hair above it, clothes below, background around
LAYOUT = torch.tensor(
    [
        [3, 3, 3, 3, 3, 3],
        [3, 1, 1, 1, 3, 3],
        [3, 1, 0, 1, 3, 3],
        [3, 3, 2, 3, 3, 3],
        [3, 3, 2, 3, 3, 3],
        [3, 3, 2, 3, 3, 3],
    ]
)
MASKS = torch.eye(4)[LAYOUT].permute(2, 0, 1)[None]


def area(slot: int, growth: int, size: int = 6) -> torch.Tensor:
    return hidden_area(MASKS, torch.tensor([slot]), torch.tensor([growth]), size)[0, 0]


def test_without_growth_the_slots_own_pixels_are_hidden() -> None:
    assert torch.equal(area(1, 0), (LAYOUT == 1).float())


def test_growth_spares_the_face() -> None:
    grown = area(1, 1)
    assert grown[2, 2] == 0
    assert grown[0].tolist() == [1, 1, 1, 1, 1, 0]
    assert grown[3, 2] == 1
    assert grown.sum() == 19  # twenty of the first four rows and five columns, but for the face


def test_each_picture_has_its_own_slot_and_growth() -> None:
    both = hidden_area(MASKS.repeat(2, 1, 1, 1), torch.tensor([2, 2]), torch.tensor([0, 2]), 6)
    assert torch.equal(both[0, 0], (LAYOUT == 2).float())
    assert both[1].sum() > both[0].sum()


def test_the_area_is_as_large_as_the_picture() -> None:
    large = area(2, 0, size=12)
    assert large.shape == (12, 12)
    assert torch.equal(large[::2, ::2], (LAYOUT == 2).float())


def test_soft_masks_count_as_their_largest_slot() -> None:
    soft = hidden_area(MASKS * 0.6 + 0.1, torch.tensor([1]), torch.tensor([0]), 6)
    assert torch.equal(soft[0, 0], (LAYOUT == 1).float())


def test_nothing_of_the_picture_is_left_where_it_is_hidden() -> None:
    hidden = area(1, 0)[None, None]
    pictures = torch.rand(2, 1, 3, 6, 6) * 2 - 1
    left = [hide_picture(picture, hidden) for picture in pictures]
    assert torch.equal(left[0][..., LAYOUT == 1], left[1][..., LAYOUT == 1])
    assert torch.equal(left[0][..., LAYOUT != 1], pictures[0][..., LAYOUT != 1])


def test_the_persons_outline_is_hidden_and_the_faces_is_not() -> None:
    masks = torch.rand(1, 3, 6, 6).round()
    left = hide_person(masks, area(1, 0)[None, None])
    assert (left[0, 2][LAYOUT == 1] == 0.5).all()
    assert torch.equal(left[0, 2][LAYOUT != 1], masks[0, 2][LAYOUT != 1])
    assert torch.equal(left[:, :2], masks[:, :2])
