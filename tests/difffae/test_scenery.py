"""Sources dressed anew: what changes, what stays, and what is refused."""

import cv2
import numpy as np
import pytest

from difffae.pipeline import Pipeline, Source
from difffae.scenery import Blur, Colour, Exchange, Scenery, SceneryEditor, _out_of_focus
from scripted_pipeline import driver_frame, reenacted

GREEN = Colour(red=10, green=200, blue=30)


@pytest.fixture(scope="module")
def editor(pipeline: Pipeline) -> SceneryEditor:
    return SceneryEditor(pipeline)


def test_without_a_wish_the_source_is_the_same_object(
    editor: SceneryEditor, source: Source
) -> None:
    assert editor.edit(source, Scenery()) is source


def test_a_colour_is_all_that_is_behind_the_person_in_every_frame(
    pipeline: Pipeline, editor: SceneryEditor, source: Source
) -> None:
    green = editor.edit(source, Scenery(background=GREEN))
    assert (green.image[:40, :40] == (10, 200, 30)).all()
    assert green.image.shape == source.image.shape
    (output,), _ = reenacted(pipeline, green, [driver_frame(1)])
    away = output.mask == 0
    away[:, 200:440] = False
    assert (np.abs(output.image[away].astype(int) - (10, 200, 30)).max(-1) <= 2).mean() > 0.9


def test_the_face_its_identity_and_its_light_stay(editor: SceneryEditor, source: Source) -> None:
    green = editor.edit(source, Scenery(background=GREEN))
    assert green.tokens.identity is source.tokens.identity
    assert green.face.fitted is source.face.fitted
    assert green.face.appearance is source.face.appearance
    rows, columns = source.points[:468, 1].astype(int), source.points[:468, 0].astype(int)
    inner = green.face.layers.portrait[rows, columns].astype(int)
    assert np.abs(inner - source.face.layers.portrait[rows, columns]).mean() < 3


def test_the_networks_are_told_of_the_new_background(editor: SceneryEditor, source: Source) -> None:
    green = editor.edit(source, Scenery(background=GREEN))
    assert not np.allclose(green.tokens.latent, source.tokens.latent)
    assert green.digest != source.digest


def test_a_picture_is_laid_behind_the_person(editor: SceneryEditor, source: Source) -> None:
    picture = np.zeros((100, 100, 3), np.uint8)
    picture[:50] = (250, 0, 0)
    changed = editor.edit(source, Scenery(background=picture))
    assert (changed.image[10, 10] == (250, 0, 0)).all()
    assert (changed.image[-40, 10] == 0).all()


def test_a_blur_takes_detail_from_the_background_only(
    editor: SceneryEditor, source: Source
) -> None:
    blurred = editor.edit(source, Scenery(background=Blur(radius=30)))
    assert blurred.layers.plate.std() < source.layers.plate.std()
    inside = source.layers.person == 1
    change = np.abs(blurred.image.astype(int) - source.image)[:, 64:576][inside]
    assert change.mean() < 2


def test_a_donors_background_comes_by_its_amount(editor: SceneryEditor, source: Source) -> None:
    donor = editor.edit(source, Scenery(background=GREEN))
    half = editor.edit(source, Scenery(background=Exchange(donor=donor, amount=0.5)))
    expected = 0.5 * source.image[10, 10] + np.array([5, 100, 15])
    np.testing.assert_allclose(half.image[10, 10], expected, atol=3)


def test_values_out_of_range_are_refused_in_a_sentence(source: Source) -> None:
    with pytest.raises(ValueError, match=r"colour is .* expected three numbers from 0 to 255"):
        Colour(red=0, green=256, blue=0)
    with pytest.raises(ValueError, match=r"blur is -1.* expected 0 to 100"):
        Blur(radius=-1.0)
    with pytest.raises(ValueError, match=r"amount is 1\.5; expected 0 to 1"):
        Exchange(donor=source, amount=1.5)


@pytest.mark.parametrize("spread", [0.0, 2.0, 9.0, 40.0])
def test_a_blur_is_a_gaussian_one_however_wide(spread: float) -> None:
    generator = np.random.default_rng(3)
    coarse = generator.integers(0, 256, (18, 24, 3), dtype=np.uint8)
    picture = np.repeat(np.repeat(coarse, 10, 0), 10, 1)
    blurred = _out_of_focus(picture, spread)
    expected = cv2.GaussianBlur(picture, (0, 0), spread) if spread else picture
    assert blurred.shape == picture.shape
    assert np.abs(blurred.astype(int) - expected).mean() < 0.03 * picture.std()
