"""Synthetic stand-ins of the licensed files: the published layouts, none of the licensed content.

Each function writes one file as its publisher shipped it; `write_licensed_files` writes all and
says where they are. The head itself is `licensed_head.synthetic_flame`.
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from difffae.face.licensed import LicensedFiles
from licensed_head import EYE_V, SyntheticFlame, synthetic_flame
from licensed_pickles import chumpy, python2_pickle, python3_pickle, sparse

NUM_BINS, NUM_CONTOUR, NUM_STATIC = 79, 17, 51
# The 51 static points of the 68: x, y on the face [m], z is found on the surface.
BROW = [(-0.046, 0.054), (-0.039, 0.059), (-0.031, 0.061), (-0.023, 0.059), (-0.015, 0.055)]
BRIDGE = [(0.0, 0.04), (0.0, 0.028), (0.0, 0.016), (0.0, 0.004)]
NOSTRILS = [(-0.012, -0.012), (-0.006, -0.014), (0.0, -0.015), (0.006, -0.014), (0.012, -0.012)]
EYE = [(-0.042, 0.032), (-0.035, 0.037), (-0.027, 0.037), (-0.02, 0.032), (-0.027, 0.027)]
EYE += [(-0.035, 0.027)]


def static_points() -> NDArray[np.float64]:
    """(51, 2): brows, nose, eyes, outer lips, inner lips; the picture's left side first."""
    mirrored_brow = [(-x, y) for x, y in reversed(BROW)]
    mirrored_eye = [(-EYE[i][0], EYE[i][1]) for i in (3, 2, 1, 0, 5, 4)]
    rounds = []
    for count, width, height in ((12, 0.024, 0.009), (8, 0.018, 0.004)):
        angle = np.pi - np.arange(count) / count * 2 * np.pi
        rounds += [(width * np.cos(a), -0.042 + height * np.sin(a)) for a in angle]
    return np.array([*BROW, *mirrored_brow, *BRIDGE, *NOSTRILS, *EYE, *mirrored_eye, *rounds])


def contour_points(yaw: float) -> NDArray[np.float64]:
    """(17, 3): the outline of the jaw [m] on a head turned by a yaw [rad], picture's left first.

    A head that turns to the picture's right (positive yaw about y) shows its outline further back
    on the picture's left and nearer to the nose on the right.
    """
    side = np.linspace(-1, 1, NUM_CONTOUR)
    azimuth = side * np.deg2rad(80) - yaw
    y = 0.03 - 0.115 * np.sqrt(np.clip(1 - side**2, 0, 1))
    return np.stack([0.078 * np.sin(azimuth), y, 0.098 * np.cos(azimuth)], -1)


def write_flame(
    path: Path,
    version: Literal["2020", "2023", "2023-open"] = "2020",
    **changed: object,
) -> Path:
    """The head model: 2020 as Python 2 and chumpy wrote it, 2023 as Python 3 with plain arrays.

    Args:
        path: file to write.
        version: which publication's dialect and keys.
        changed: keys with other values; None leaves a key out.
    """
    flame = synthetic_flame()
    is_old = version == "2020"
    wrap = chumpy if is_old else np.asarray
    fields: dict[str, object] = {
        "f": flame.f,
        "v_template": wrap(flame.v_template),
        "shapedirs": wrap(flame.shapedirs),
        "posedirs": flame.posedirs,
        "J_regressor": sparse(
            flame.J_regressor, "scipy.sparse.csc" if is_old else "scipy.sparse._csc"
        ),
        "kintree_table": flame.kintree_table,
        "weights": wrap(flame.weights),
        "J": wrap(flame.J_regressor @ flame.v_template),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }
    if version == "2023-open":
        fields["supr_expression_metadata"] = {"n_expr": 100, "expr_components": "last_100"}
    fields = {key: value for key, value in {**fields, **changed}.items() if value is not None}
    path.write_bytes(python2_pickle(fields) if is_old else python3_pickle(fields))
    return path


def write_template(path: Path) -> Path:
    """head_template.obj: vertices, texture coordinates, faces of both."""
    flame = synthetic_flame()
    lines = ["# synthetic", "mtllib head_template.mtl", "usemtl head"]
    lines += [f"v {x:.8f} {y:.8f} {z:.8f}" for x, y, z in flame.v_template]
    lines += [f"vt {u:.8f} {v:.8f}" for u, v in flame.uv]
    corners = np.stack([flame.f.astype(np.int64), flame.uv_faces], -1) + 1
    lines += ["f " + " ".join(f"{v}/{vt}" for v, vt in face) for face in corners]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def embedding(flame: SyntheticFlame, bin_sign: int = 1) -> dict[str, object]:
    """The landmark embedding; as published, the contour's arrays are tensors.

    Args:
        flame: the head.
        bin_sign: 1 where bins 0 to 39 are turns to the picture's right, -1 the other way round.
    """
    static_faces = flame.nearest_faces(static_points())
    degrees = np.concatenate([np.arange(40), -np.arange(1, 40)]) * bin_sign
    dynamic_faces = np.stack(
        [flame.nearest_faces(contour_points(yaw)) for yaw in np.deg2rad(degrees)]
    )
    thirds = np.full((NUM_STATIC, 3), 1 / 3)
    full = np.concatenate([dynamic_faces[0], static_faces])
    return {
        "static_lmk_faces_idx": static_faces,
        "static_lmk_bary_coords": thirds,
        "dynamic_lmk_faces_idx": torch.from_numpy(dynamic_faces),
        "dynamic_lmk_bary_coords": torch.full((NUM_BINS, NUM_CONTOUR, 3), 1 / 3),
        "full_lmk_faces_idx": full[None],
        "full_lmk_bary_coords": np.full((1, 68, 3), 1 / 3),
    }


def write_landmarks(path: Path, bin_sign: int = 1) -> Path:
    """landmark_embedding.npy: a pickled dictionary in an array of one object."""
    np.save(path, np.array(embedding(synthetic_flame(), bin_sign), object), allow_pickle=True)
    return path


def write_bfm_albedo(path: Path, side: int = 64) -> Path:
    """FLAME_albedo_from_BFM.npz: MU and 199 components of side²×3, blue first, in [0, 1].

    The published side is 512, of 630 MB; a small one serves most tests.
    """
    components = np.zeros((side, side, 3, 199), np.float32)
    _fill_components(components, 0.03)
    mean = synthetic_flame().albedo(side)[..., ::-1].astype(np.float32)
    np.savez(path, MU=mean.reshape(1, -1), PC=components.reshape(-1, 199))
    return path


def write_flame_texture(path: Path, side: int = 64) -> Path:
    """FLAME_texture.npz: mean and 200 components of side²×3, blue first, in [0, 255]."""
    components = np.zeros((side, side, 3, 200), np.float32)
    _fill_components(components, 7.0)
    mean = 255 * synthetic_flame().albedo(side)[..., ::-1]
    np.savez(path, mean=mean.astype(np.float32), tex_dir=components)
    return path


def _fill_components(components: NDArray[np.float32], size: float) -> None:
    """Brightness, then blue, green and red alone; the rest is 0."""
    components[..., 0] = -size
    for channel in range(3):
        components[..., channel, channel + 1] = size / 2


def write_uv_mask(path: Path) -> Path:
    """uv_face_eye_mask.png: 256×256, white on the front of the face and the eyes."""
    v, u = 1 - (np.arange(256) + 0.5) / 256, (np.arange(256) + 0.5) / 256
    u, v = np.meshgrid(u, v)
    is_face = (np.abs(u - 0.5) < 0.25) & (v > 0.25) & (v < 0.85) | (v < EYE_V)
    cv2.imwrite(str(path), np.repeat(np.where(is_face, 255, 0).astype(np.uint8)[..., None], 3, -1))
    return path


def write_displacement(path: Path) -> Path:
    """fixed_displacement_256.npy: 256×256 of doubles, within the published range [m]."""
    u, v = np.meshgrid(np.arange(256) / 256, np.arange(256) / 256)
    np.save(path, 1.5e-4 + 1.4e-3 * np.sin(40 * u) * np.sin(40 * v))
    return path


def write_licensed_files(folder: Path) -> LicensedFiles:
    """All files but DECA's and ArcFace's networks, under their published names."""
    return LicensedFiles(
        flame=write_flame(folder / "generic_model.pkl"),
        albedo=write_bfm_albedo(folder / "FLAME_albedo_from_BFM.npz"),
        template=write_template(folder / "head_template.obj"),
        landmarks=write_landmarks(folder / "landmark_embedding.npy"),
        uv_mask=write_uv_mask(folder / "uv_face_eye_mask.png"),
        displacement=write_displacement(folder / "fixed_displacement_256.npy"),
    )


def with_file(files: LicensedFiles, **changed: Path | str | None) -> LicensedFiles:
    """The same files with others in their place."""
    return replace(files, **changed)
