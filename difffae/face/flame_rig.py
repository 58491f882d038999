"""The paper's face rig: DECA reads, FLAME poses, R renders; all from the user's licensed files."""

import logging
from dataclasses import replace

import numpy as np

from difffae.arrays import Lighting, MaskF32
from difffae.face.albedo import load_albedo, mean_albedo
from difffae.face.appearance import Appearance
from difffae.face.config import FaceConfig
from difffae.face.crop import CropBox
from difffae.face.deca import NUM_EXPRESSION, Codes, Deca, load_deca
from difffae.face.deca_crop import cut, deca_box
from difffae.face.detail import load_detail_maps
from difffae.face.expression_ratio import SkinChange
from difffae.face.flame import FlameModel, load_flame
from difffae.face.flame_renderer import (
    FLAME_TO_PICTURE,
    HEAD_UNIT_M,
    FlameParts,
    FlameRenderer,
)
from difffae.face.licensed import LicensedFiles
from difffae.face.morphable import EyeOpenings, FittedFace
from difffae.face.parameters import FaceParameters, Vector
from difffae.face.pytorch3d import rasterize_pytorch3d
from difffae.face.rasterizer import rasterize
from difffae.face.regions import RegionFilter, Regions, near, ramp
from difffae.face.renderer import Condition
from difffae.face.rig import Sighting
from difffae.face.source_face import SourceFace, source_layers
from difffae.face.template import load_template

# What FLAME's axes make of each harmonic: those odd in y or z alone change their sign.
_HARMONICS_TO_PICTURE = np.array([1, 1, -1, -1, -1, -1, 1, 1, 1], np.float32)[:, None]
_JAW_SPREAD_RAD = 0.1
_DECAS_FLAME = "2020"
_LOGGER = logging.getLogger(__name__)
_NO_RESIDUAL = (0, 3)  # DECA leaves no points unexplained: it explains none
# Regions in units of the distance between the eyes, so that they fit FLAME of any version.
_EYE_REACH = (0.3, 0.45)  # across the face from an eye's centre: its lids, .. its brow
_MOUTH_LEVELS = (0.15, 0.35)  # below the tip of the nose: the nose's base .. the upper lip


class FlameRig:
    """See `difffae.face.rig.Rig`; shape is FLAME's, expression is its 50 and the jaw's turn [rad].

    One sighting is read once, whatever is asked of it. FLAME's lids are part of its expression, so
    the rig has none to open.

    Args:
        deca: reads faces.
        renderer: renders them.
    """

    def __init__(self, deca: Deca, renderer: FlameRenderer) -> None:
        self._deca = deca
        self._last: tuple[Sighting, CropBox, Codes] | None = None
        self._keep_regions = _region_filter(renderer.model)
        self.renderer = renderer

    @property
    def expression_spread(self) -> Vector:
        """See `Rig.expression_spread`: 50 standard deviations, then the jaw's turn [rad]."""
        return np.asarray([*[1.0] * 50, *[_JAW_SPREAD_RAD] * 3], np.float32)

    def read(self, sighting: Sighting, person: FaceParameters | None = None) -> FaceParameters:
        """See `Rig.read`."""
        box, codes = self._read(sighting)
        return parameters_of(codes, box, None if person is None else person.shape)

    def lighting(self, sighting: Sighting) -> Lighting:
        """See `Rig.lighting`: DECA's own scale, in the picture's axes."""
        return lighting_of(self._read(sighting)[1])

    def take_apart(self, sighting: Sighting, person_mask: MaskF32) -> SourceFace:
        """See `Rig.take_apart`."""
        box, codes = self._read(sighting)
        has_detail = self.renderer.has_detail
        detail = self._deca.encode_detail(cut(sighting.image, box)) if has_detail else None
        return SourceFace(
            fitted=FittedFace(
                parameters=parameters_of(codes, box), residual=np.zeros(_NO_RESIDUAL, np.float32)
            ),
            appearance=Appearance(lighting=lighting_of(codes), albedo=codes.albedo, detail=detail),
            layers=source_layers(sighting.image, sighting.points, person_mask),
        )

    def skin_detail(self, sighting: Sighting) -> None:
        """See `Rig.skin_detail`: folds are DECA's, of its detail code."""
        del sighting

    def condition(
        self,
        source: SourceFace,
        shown: FaceParameters,
        lighting: Lighting,
        skin: SkinChange | None = None,
    ) -> Condition:
        """See `Rig.condition`: albedo and detail code are the source's (paper section 4.1)."""
        del skin
        return self.renderer.condition(shown, replace(source.appearance, lighting=lighting))

    def without_networks(self) -> "FlameRig":
        """See `Rig.without_networks`: no network renders FLAME."""
        return self

    def eye_openings(self, parameters: FaceParameters) -> EyeOpenings:
        """See `Rig.eye_openings`: zeros."""
        del parameters
        return np.zeros(2, np.float32)

    def open_eyes(self, parameters: FaceParameters, change: EyeOpenings) -> FaceParameters:
        """See `Rig.open_eyes`: unchanged."""
        del change
        return parameters

    def mouth_opening(self, parameters: FaceParameters) -> float:
        """See `Rig.mouth_opening`: 0."""
        del parameters
        return 0.0

    def open_mouth(self, parameters: FaceParameters, change: float) -> FaceParameters:
        """See `Rig.open_mouth`: unchanged."""
        del change
        return parameters

    def keep_regions(
        self, moved: FaceParameters, still: FaceParameters, regions: Regions
    ) -> FaceParameters:
        """See `Rig.keep_regions`; the jaw is the mouth's. FLAME has lids in its expression only."""
        if regions == Regions():
            return moved
        change = moved.expression - still.expression
        face, jaw = change[:NUM_EXPRESSION], change[NUM_EXPRESSION:]
        kept = [self._keep_regions(face, regions), jaw if regions.mouth else 0 * jaw]
        return replace(
            moved,
            expression=still.expression + np.concatenate(kept),
            gaze=moved.gaze if regions.eyes else still.gaze,
        )

    def _read(self, sighting: Sighting) -> tuple[CropBox, Codes]:
        last = self._last
        if last is not None and last[0] is sighting:
            return last[1], last[2]
        box = deca_box(sighting.points)
        codes = self._deca.encode(cut(sighting.image, box))
        self._last = sighting, box, codes
        return box, codes


def _region_filter(model: FlameModel) -> RegionFilter:
    """Regions by their place on the mean head: no file says which vertices are lids or lips."""
    template, eyes = model.template, model.eye_centres
    unit = float(np.linalg.norm(eyes[0] - eyes[1]))
    tip = template[np.argmax(template[:, 2])]
    across = np.array([1, 1, 0], np.float32)  # seen from the front
    return RegionFilter(
        model.expression_basis[:NUM_EXPRESSION],
        near(template * across / unit, eyes * across / unit, _EYE_REACH),
        ramp((tip[1] - template[:, 1]) / unit, _MOUTH_LEVELS),
    )


def parameters_of(codes: Codes, box: CropBox, shape: Vector | None = None) -> FaceParameters:
    """What DECA says of a crop, in the pixels and axes of the picture the crop was cut from.

    Args:
        codes: DECA's.
        box: the crop's, in the picture.
        shape: a known person's, in place of the codes' own.
    """
    scale, right, up = (float(value) for value in codes.camera)
    half = box.size / 2  # DECA's unit is half a crop
    middle = np.array([box.left, box.top]) + half
    shift = scale * half * np.array([right, -up])
    return FaceParameters(
        shape=codes.shape if shape is None else shape,
        expression=np.concatenate([codes.expression, codes.pose[3:]]),
        gaze=np.zeros(4, np.float32),
        rotation=codes.pose[:3] * FLAME_TO_PICTURE,
        scale=scale * half * HEAD_UNIT_M,
        translation=(middle + shift).astype(np.float32),
    )


def lighting_of(codes: Codes) -> Lighting:
    """DECA's light, turned from FLAME's axes to the picture's."""
    return codes.lighting * _HARMONICS_TO_PICTURE


def load_flame_rig(config: FaceConfig, size: int, device: str = "cpu") -> FlameRig:
    """Load the paper's rig from the user's files.

    Args:
        config: names the files; where the texture model, or the mask and displacement of the
            detail, are not given, a mean skin colour or the coarse surface is rendered.
        size: side of crops and conditions [px].
        device: where DECA's networks run; the rest is for the CPU.

    Raises:
        LicensedFileError: a file that is needed is missing, or one cannot be used.
    """
    files = config.licensed
    paths = {key: files.require(key) for key in _needed(files)}
    deca = load_deca(paths["deca"], device)
    model = load_flame(paths["flame"], paths.get("landmarks"))
    if model.version not in (_DECAS_FLAME, None):
        _LOGGER.warning(
            "%s is FLAME %s; DECA's codes are of FLAME %s, and faces will be of wrong shape",
            paths["flame"],
            model.version,
            _DECAS_FLAME,
        )
    parts = FlameParts(
        model=model,
        template=load_template(paths["template"]),
        albedo=load_albedo(paths["albedo"]) if "albedo" in paths else mean_albedo(),
        deca=deca,
        detail=load_detail_maps(paths["uv_mask"], paths["displacement"])
        if "uv_mask" in paths
        else None,
    )
    raster = rasterize if config.rasterizer == "numba" else rasterize_pytorch3d
    renderer = FlameRenderer(parts, size, raster)
    renderer.warm_up()
    return FlameRig(deca, renderer)


def _needed(files: LicensedFiles) -> list[str]:
    """The keys of all files to be read; mask and displacement of the detail go together."""
    keys = ["flame", "template", "deca"]
    keys += [key for key in ("albedo", "landmarks") if getattr(files, key) is not None]
    if files.uv_mask is not None or files.displacement is not None:
        keys += ["uv_mask", "displacement"]
    return keys
