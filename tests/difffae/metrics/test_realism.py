import math

import numpy as np
import pytest

from difffae.metrics.embedding import SqueezeNetEmbedding
from difffae.metrics.frechet import frechet_distance, moments
from difffae.metrics.kernel_distance import squared_mmd
from difffae.metrics.perceptual import FeatureDistance
from difffae.metrics.realism import RealismMeter, warnings

RNG = np.random.default_rng(1)
REAL = RNG.normal(size=(12, 6)).astype(np.float32)
OUTPUTS = (RNG.normal(size=(9, 6)) + 0.5).astype(np.float32)


@pytest.fixture(scope="module")
def embedding() -> SqueezeNetEmbedding:
    return SqueezeNetEmbedding(FeatureDistance())


def test_each_row_is_compared_with_all_real_frames(embedding: SqueezeNetEmbedding) -> None:
    meter = RealismMeter(embedding)
    for features in REAL:
        meter.add_real("self", features)
        meter.add("self", "copy", features)
    for features in OUTPUTS:
        meter.add("self", "model", features)
    results = meter.results()
    model, copy = results["self"]["model"], results["self"]["copy"]
    assert model.frechet == pytest.approx(frechet_distance(moments(OUTPUTS), moments(REAL)))
    assert model.kernel == pytest.approx(1000 * squared_mmd(OUTPUTS, REAL))
    assert (model.num_outputs, model.num_real, model.num_subsets) == (9, 12, 1)
    assert copy.frechet == pytest.approx(0, abs=1e-6)
    assert warnings(results)[0].startswith("Fewer than 2048 pictures (self 9): the Fréchet")


def test_one_picture_gives_no_distance_and_a_sentence(embedding: SqueezeNetEmbedding) -> None:
    meter = RealismMeter(embedding)
    meter.add_real("cross", REAL[0])
    meter.add("cross", "model", OUTPUTS[0])
    results = meter.results()
    assert math.isnan(results["cross"]["model"].frechet)
    assert warnings(results) == [
        "Too few pictures for a covariance, so no Fréchet distance (cross 1): measure 2 frames or "
        "more"
    ]


def test_the_stand_in_has_512_features_and_never_the_name_fid(
    embedding: SqueezeNetEmbedding,
) -> None:
    picture = RNG.integers(0, 256, (64, 64, 3)).astype(np.uint8)
    assert embedding.embed(picture).shape == (512,)
    assert embedding.columns == ("FD-SqueezeNet", "KD-SqueezeNet x1000")
    assert "not FID" in embedding.name
