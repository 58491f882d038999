"""Hair and clothes exchanged with another portrait's: by pixels, by tokens, and not at all."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from difffae.arrays import ImageU8
from difffae.face.portrait_regions import HEAD
from difffae.hidden import GREY, HiddenRegions, hide_in_condition, hide_in_source, regions_of
from difffae.model.hiding import UNKNOWN
from difffae.pipeline import Pipeline, Source
from difffae.scenery import Colour, Exchange, Scenery, SceneryEditor, SwapError
from scripted_pipeline import CONTROLS, HEIGHT, MARGIN, driver_frame

REGIONS = ("face", "hair", "clothes", "background")
HAIR, CLOTHES = 1, 2
CROWN, CHEST, NOSE = (60, 320), (500, 320), (245, 320)  # of the portrait


@pytest.fixture(scope="module")
def speaking(pipeline: Pipeline) -> Callable[..., Pipeline]:
    """The pipeline with other claims in its configuration."""

    def claiming(**claims: tuple[str, ...]) -> Pipeline:
        encoder = replace(pipeline.config.region_encoder, **claims)  # type: ignore[arg-type]
        return Pipeline(
            config=replace(pipeline.config, region_encoder=encoder),
            rig=pipeline.rig,
            generator=pipeline._generator,
            tracker=pipeline._tracker,
            segmenter=pipeline._segmenter,
        )

    return claiming


@pytest.fixture(scope="module")
def regional(speaking: Callable[..., Pipeline]) -> Pipeline:
    """Of slots that are regions and tokens that tell of all but the face."""
    return speaking(regions=REGIONS, told=REGIONS[1:])


@pytest.fixture(scope="module")
def editor(regional: Pipeline) -> SceneryEditor:
    return SceneryEditor(regional)


@pytest.fixture(scope="module")
def donor(regional: Pipeline, portrait_image: ImageU8) -> Source:
    """The same portrait in reddish light hair and clothes."""
    lighter = 255 - portrait_image // 3
    lighter[..., 1:] //= 2
    return regional.encode_source(lighter)


def around(image: ImageU8, place: tuple[int, int]) -> np.ndarray:
    row, column = place
    return image[row - 3 : row + 4, column - 3 : column + 4].astype(float).mean((0, 1))


@pytest.mark.parametrize(
    ("region", "changed", "kept"), [("hair", CROWN, CHEST), ("clothes", CHEST, CROWN)]
)
def test_by_pixels_the_donors_region_is_seen_and_the_rest_is_the_portraits(
    editor: SceneryEditor, source: Source, donor: Source, region: str, changed: tuple[int, int],
    kept: tuple[int, int],
) -> None:  # fmt: skip
    worn = editor.edit(source, Scenery(**{region: Exchange(donor=donor)}))  # type: ignore[arg-type]
    assert np.abs(around(worn.image, changed) - around(donor.image, changed)).max() < 25
    assert np.abs(around(worn.image, changed) - around(source.image, changed)).max() > 60
    for place in (kept, NOSE):
        assert np.abs(around(worn.image, place) - around(source.image, place)).max() < 6
    assert worn.hidden is None
    assert worn.tokens.identity is source.tokens.identity
    assert worn.face.fitted is source.face.fitted


def test_the_slots_token_is_exchanged_too_and_no_other(
    regional: Pipeline, editor: SceneryEditor, source: Source, donor: Source
) -> None:
    worn = editor.edit(source, Scenery(hair=Exchange(donor=donor))).tokens.slots
    torch.testing.assert_close(worn[:, HAIR], donor.tokens.slots[:, HAIR])
    plain = editor.edit(source, Scenery(hair=Exchange(donor=donor, amount=0.0))).tokens.slots
    torch.testing.assert_close(plain[:, HAIR], source.tokens.slots[:, HAIR])
    half = editor.edit(source, Scenery(hair=Exchange(donor=donor, amount=0.5))).tokens.slots
    between = (donor.tokens.slots[:, HAIR] + source.tokens.slots[:, HAIR]) / 2
    torch.testing.assert_close(half[:, HAIR], between)
    assert not torch.allclose(worn[:, CLOTHES], donor.tokens.slots[:, CLOTHES])


def test_a_share_of_hair_and_another_of_clothes_lie_between(
    editor: SceneryEditor, source: Source, donor: Source
) -> None:
    def picture(hair: float, clothes: float) -> ImageU8:
        return editor.edit(
            source,
            Scenery(
                hair=Exchange(donor=donor, amount=hair),
                clothes=Exchange(donor=donor, amount=clothes),
            ),
        ).image

    some = picture(0.25, 0.75)
    for place, share in ((CROWN, 0.25), (CHEST, 0.75)):
        none, all_of_it = around(picture(0, 0), place), around(picture(1, 1), place)
        expected = (1 - share) * none + share * all_of_it
        assert np.abs(around(some, place) - expected).max() < 4


def test_a_colour_goes_behind_what_is_worn(
    editor: SceneryEditor, source: Source, donor: Source
) -> None:
    green = Colour(red=10, green=200, blue=30)
    both = editor.edit(source, Scenery(hair=Exchange(donor=donor), background=green))
    assert (both.image[5, 5] == (10, 200, 30)).all()
    assert np.abs(around(both.image, CROWN) - around(donor.image, CROWN)).max() < 25


def test_by_tokens_the_portrait_stays_and_the_networks_see_nothing_of_the_region(
    regional: Pipeline, editor: SceneryEditor, source: Source, donor: Source
) -> None:
    told = editor.edit(source, Scenery(hair=Exchange(donor=donor), way="tokens"))
    assert told.image is source.image
    torch.testing.assert_close(told.tokens.slots[:, HAIR], donor.tokens.slots[:, HAIR])
    torch.testing.assert_close(told.tokens.slots[:, CLOTHES], source.tokens.slots[:, CLOTHES])
    assert not torch.allclose(told.tokens.latent, source.tokens.latent)
    state = regional.open_stream(told, CONTROLS)
    condition, _ = regional.condition(driver_frame(0), told, state, CONTROLS)
    plain, _ = regional.condition(driver_frame(0), source, state, CONTROLS)
    assert condition.hidden is not None
    hidden = condition.hidden > 0
    assert (condition.composite[hidden] == GREY).all()
    assert (condition.person_mask[hidden] == UNKNOWN).all()
    np.testing.assert_array_equal(condition.composite[~hidden], plain.composite[~hidden])
    np.testing.assert_array_equal(condition.person_mask[~hidden], plain.person_mask[~hidden])
    assert hidden[30, 128]
    assert not hidden[120, 128]


def test_what_is_hidden_goes_with_the_head_and_spares_the_face(
    regional: Pipeline, source: Source
) -> None:
    planes = regions_of(source.face.layers.person, source.points)
    hidden = HiddenRegions(slots=(HAIR,), planes=planes, mask_size=32)
    told = regional.hide(source, hidden)
    state = regional.open_stream(told, CONTROLS)
    first, state = regional.condition(driver_frame(0), told, state, CONTROLS)
    second, _ = regional.condition(driver_frame(1), told, state, CONTROLS)
    assert first.hidden is not None
    assert second.hidden is not None
    for one in (first, second):
        is_face = one.face_mask > 0.9
        assert ((one.hidden > 0) & is_face).sum() < 0.08 * is_face.sum()
    places = [np.argwhere(one.hidden > 0)[:, 1].mean() for one in (first, second)]
    assert 2 < places[1] - places[0] < 20  # the driver goes to the right


def test_a_composite_is_hidden_where_training_hides_one(regional: Pipeline, source: Source) -> None:
    """Labels of the unmoved composite, from its own masks, are those of the moved source."""
    planes = regions_of(source.face.layers.person, source.points)
    shown = source.face.fitted.parameters
    condition = regional.render(source, shown, source.face.appearance.lighting)
    for slot in (HAIR, CLOTHES, 3):
        hidden = HiddenRegions(slots=(slot,), planes=planes, mask_size=32)
        moved = hide_in_condition(condition, hidden).hidden
        assert moved is not None
        still = hide_in_source(condition.composite, hidden)
        own = (still == GREY).all(-1)
        shared = ((moved > 0) & own).sum() / ((moved > 0) | own).sum()
        assert shared > 0.9, REGIONS[slot]


def test_two_regions_are_hidden_together(source: Source) -> None:
    planes = regions_of(source.face.layers.person, source.points)
    picture = source.face.layers.portrait

    def grey(*slots: int) -> np.ndarray:
        hidden = HiddenRegions(slots=slots, planes=planes, mask_size=32)
        return (hide_in_source(picture, hidden) == GREY).all(-1)

    assert ((grey(HAIR) | grey(CLOTHES)) == grey(HAIR, CLOTHES)).all()
    assert planes[..., HEAD].max() > 0.9


def test_a_model_without_regions_swaps_backgrounds_and_nothing_else(
    speaking: Callable[..., Pipeline], source: Source, donor: Source
) -> None:
    editor, exchange = SceneryEditor(speaking()), Exchange(donor=donor)
    behind = editor.edit(source, Scenery(background=exchange))
    assert not np.array_equal(behind.image, source.image)
    for scenery in (
        Scenery(hair=exchange),
        Scenery(clothes=exchange),
        Scenery(background=exchange, way="tokens"),
    ):
        with pytest.raises(SwapError, match="cannot be swapped: this model's slots are not"):
            editor.edit(source, scenery)


def test_tokens_that_tell_nothing_are_refused_but_for_measuring(
    speaking: Callable[..., Pipeline], source: Source, donor: Source
) -> None:
    silent, scenery = speaking(regions=REGIONS), Scenery(hair=Exchange(donor=donor), way="tokens")
    with pytest.raises(SwapError, match=r"the hair cannot be swapped by tokens: .*by pixels"):
        SceneryEditor(silent).edit(source, scenery)
    assert SceneryEditor(silent, is_measuring=True).edit(source, scenery).hidden is not None


def test_a_background_by_tokens_is_painted_all_over_the_crop(
    regional: Pipeline, editor: SceneryEditor, source: Source, donor: Source
) -> None:
    told = editor.edit(source, Scenery(background=Exchange(donor=donor), way="tokens"))
    shown = regional.still(told, CONTROLS)
    assert shown.mask[HEIGHT // 2, MARGIN + 40] == 255
    assert regional.still(source, CONTROLS).mask[20, MARGIN + 30] == 0


def test_hair_seen_from_another_side_is_refused(
    editor: SceneryEditor, source: Source, donor: Source
) -> None:
    fitted = donor.face.fitted
    turned = replace(fitted.parameters, rotation=np.array([0, 0.9, 0], np.float32))
    face = replace(donor.face, fitted=replace(fitted, parameters=turned))
    aside = replace(donor, face=face, digest="aside")
    with pytest.raises(SwapError, match=r"look 5\d degrees apart, expected up to 40; use a pict"):
        editor.edit(source, Scenery(hair=Exchange(donor=aside)))
    editor.edit(source, Scenery(clothes=Exchange(donor=aside)))
