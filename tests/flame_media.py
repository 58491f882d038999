"""A synthetic FLAME with texture, landmarks and detail, made in memory and at once."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from deca_media import planted_deca
from difffae.face.albedo import AlbedoModel
from difffae.face.appearance import Appearance
from difffae.face.crop import CropBox
from difffae.face.deca import Codes, Deca
from difffae.face.detail import DetailMaps
from difffae.face.flame import FlameModel, LandmarkEmbedding
from difffae.face.flame_renderer import FlameParts
from difffae.face.flame_rig import lighting_of, parameters_of
from difffae.face.parameters import FaceParameters
from difffae.face.template import Template
from licensed_head import synthetic_flame
from licensed_media import embedding

SIZE = 128  # of the rendered conditions, for speed
CAMERA = (8.0, 0.004, 0.01)  # a head that fills most of DECA's crop
BOX = CropBox(left=14.25, top=10.5, size=100.0)  # of DECA's crop in the condition
CONSTANT_LIGHT = 1 / 0.282095  # of the first harmonic, for a shading of 1


@cache
def flame_model() -> FlameModel:
    """The synthetic head with its 68 landmarks."""
    flame = synthetic_flame()
    names = ("v_template", "shapedirs", "posedirs", "J_regressor", "kintree_table", "weights", "f")
    arrays = {name: np.asarray(getattr(flame, name)) for name in names}
    arrays["kintree_table"] = np.array([[-1, 0, 1, 1, 1], [0, 1, 2, 3, 4]])
    found = {name: np.asarray(values) for name, values in embedding(flame).items()}
    where = LandmarkEmbedding(
        static_faces=found["static_lmk_faces_idx"].astype(np.int64),
        static_weights=found["static_lmk_bary_coords"].astype(np.float32),
        contour_faces=found["dynamic_lmk_faces_idx"].astype(np.int64),
        contour_weights=found["dynamic_lmk_bary_coords"].astype(np.float32),
        sign=1,
    )
    return FlameModel(arrays, where)


@cache
def template() -> Template:
    """The head's texture coordinates."""
    flame = synthetic_flame()
    return Template(
        uv=flame.uv.astype(np.float32),
        uv_faces=np.ascontiguousarray(flame.uv_faces, np.int32),
        faces=np.ascontiguousarray(flame.f, np.int32),
    )


@cache
def albedo_model() -> AlbedoModel:
    """A painted face; the first code makes it darker, the second redder."""
    mean = np.ascontiguousarray(synthetic_flame().albedo(256), np.float32)
    components = np.zeros((256, 256, 3, 50), np.float32)
    components[..., 0], components[..., 0, 1] = -0.1, 0.1
    return AlbedoModel(mean, components.reshape(-1, 50), "BFM")


@cache
def detail_maps() -> DetailMaps:
    """A mask on the front of the face, and a rippled fixed displacement."""
    u, v = np.meshgrid((np.arange(256) + 0.5) / 256, 1 - (np.arange(256) + 0.5) / 256)
    mask = (np.abs(u - 0.5) < 0.25) & (v > 0.25) & (v < 0.85)
    ripples = 4e-4 * np.sin(40 * u) * np.sin(40 * v)
    return DetailMaps(mask=mask.astype(np.float32), displacement=ripples.astype(np.float32))


def flame_parts(deca: Deca | None = None, *, has_detail: bool = True) -> FlameParts:
    """All that is rendered."""
    return FlameParts(
        model=flame_model(),
        template=template(),
        albedo=albedo_model(),
        deca=planted_deca({}) if deca is None else deca,
        detail=detail_maps() if has_detail else None,
    )


def constant_light(**harmonics: float) -> NDArray[np.float32]:
    """White light of shading 1 from everywhere, and other harmonics by number: `h1=0.5`."""
    lighting = np.zeros((9, 3), np.float32)
    lighting[0] = CONSTANT_LIGHT
    for name, value in harmonics.items():
        lighting[int(name[1:])] += value
    return lighting


def head_codes(
    *,
    yaw: float = 0.0,
    pitch: float = 0.0,
    roll: float = 0.0,
    jaw: float = 0.0,
    lighting: NDArray[np.float32] | None = None,
    seed: int | None = None,
) -> Codes:
    """What DECA could say of a head [rad]; a seed draws shape, expression and albedo."""
    draw = np.random.default_rng(seed).normal(size=200) * (seed is not None)
    shape, expression, albedo = np.split(draw.astype(np.float32), [100, 150])
    return Codes(
        shape=shape,
        albedo=0.5 * albedo,
        expression=0.4 * expression,
        pose=np.array([pitch, yaw, roll, jaw, 0, 0], np.float32),
        camera=np.array(CAMERA, np.float32),
        lighting=constant_light() if lighting is None else lighting,
    )


def shown(
    codes: Codes, detail: NDArray[np.float32] | None = None
) -> tuple[FaceParameters, Appearance]:
    """The same in the condition's pixels."""
    appearance = Appearance(lighting=lighting_of(codes), albedo=codes.albedo, detail=detail)
    return parameters_of(codes, BOX), appearance
