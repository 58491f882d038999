"""The user's licensed files: what each is, where it comes from, and whether a file is that one.

A configuration's paths in; checked paths and arrays out, or one error that says which file is
missing, where to register for it and which key to set. No licensed file ships with the project.
"""

import hashlib
import logging
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import EllipsisType, MappingProxyType

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from difffae.pickled_arrays import read_object_npy, read_pickle
from difffae.restricted_pickle import DamagedPickleError, RefusedPickleError

CONFIG_KEY = "model.face.licensed"
AnyArray = NDArray[np.generic]
Shape = tuple[int | EllipsisType, ...]  # a leading ... is any number of axes of any size

_logger = logging.getLogger(__name__)


class LicensedFileError(ValueError):
    """A licensed file that is not set, missing, damaged or another than the one expected."""


@dataclass(frozen=True, kw_only=True)
class LicensedFile:
    """One file that the user has to provide.

    Attributes:
        key: its name in LicensedFiles.
        file: the name under which it is published.
        purpose: what it is for.
        licence: its terms, in a few words.
        source: where to register or download, and what to unpack.
        layouts: the arrays that it must hold with their shapes, for each kind of file that will
            do; empty where its own loader checks it.
        sha256: what is known of the hashes of its publications: first digits, or all, to name.
    """

    key: str
    file: str
    purpose: str
    licence: str
    source: str
    layouts: Mapping[str, Mapping[str, Shape]] = field(default_factory=dict)
    sha256: Mapping[str, str] = field(default_factory=dict)


_MPI = "non-commercial research only, no redistribution (Max Planck Institute)"
_DECA_DATA = "take it from data/ of https://github.com/yfeng95/DECA"
_FLAME_ARRAYS: Mapping[str, Shape] = MappingProxyType(
    {
        "f": (9976, 3),
        "v_template": (5023, 3),
        "shapedirs": (5023, 3, 400),
        "posedirs": (5023, 3, 36),
        "J_regressor": (5, 5023),
        "kintree_table": (2, 5),
        "weights": (5023, 5),
    }
)
_ROWS = (
    LicensedFile(
        key="flame",
        file="generic_model.pkl, flame2023.pkl or flame2023_Open.pkl",
        purpose="FLAME, the head model; DECA's codes are for FLAME 2020, generic_model.pkl",
        licence=f"FLAME 2020 and 2023: {_MPI}; FLAME 2023 Open: CC BY 4.0",
        source="register at https://flame.is.tue.mpg.de, download FLAME2020.zip and unpack it",
        layouts={"FLAME": _FLAME_ARRAYS},
        sha256={
            "efcd14cc4a69f3a3d9af8ded80146b5b6b50df3bd74cf69108213b144eba725b": "2020",
            "8fb1af0db1abb51053ead8fd1f2624a63d01c9602f4a4fb4ea23bd2c82017fa0": "2023",
            "b291fcd1": "2023 without jaw",
            "e75a0990728ba038c7da2a420ae4396f7ddd7781366c13026066c5b24f127623": "2023 Open",
        },
    ),
    LicensedFile(
        key="deca",
        file="deca_model.tar",
        purpose="DECA's encoders and detail decoder",
        licence=f"{_MPI}, no training for commercial use",
        source="accept the licence at https://github.com/yfeng95/DECA and download it by its link",
    ),
    LicensedFile(
        key="albedo",
        file="FLAME_albedo_from_BFM.npz or FLAME_texture.npz",
        purpose="FLAME's texture space; DECA's codes are for the one made from BFM",
        licence="BFM: its own terms, non-commercial; FLAME_texture.npz: CC BY-NC-SA 4.0",
        source="register for BFM at https://faces.dmi.unibas.ch and convert it with "
        "https://github.com/TimoBolkart/BFM_to_FLAME, or download TextureSpace.zip at "
        "https://flame.is.tue.mpg.de",
        layouts={
            "BFM": {"MU": (...,), "PC": (..., 199)},
            "FLAME": {"mean": (...,), "tex_dir": (..., 200)},
        },
    ),
    LicensedFile(
        key="template",
        file="head_template.obj",
        purpose="FLAME's texture coordinates",
        licence=f"DECA's: {_MPI}",
        source=_DECA_DATA,
    ),
    LicensedFile(
        key="landmarks",
        file="landmark_embedding.npy",
        purpose="where the 68 landmarks lie on FLAME's surface",
        licence=f"DECA's: {_MPI}",
        source=_DECA_DATA,
        layouts={
            "DECA": {
                "static_lmk_faces_idx": (51,),
                "static_lmk_bary_coords": (51, 3),
                "dynamic_lmk_faces_idx": (79, 17),
                "dynamic_lmk_bary_coords": (79, 17, 3),
            }
        },
        sha256={"8095348eeafce5a02f6bd8765146307f9567a3f03b316d788a2e47336d667954": "DECA's"},
    ),
    LicensedFile(
        key="uv_mask",
        file="uv_face_eye_mask.png",
        purpose="where on the texture DECA's detail is drawn",
        licence=f"DECA's: {_MPI}",
        source=_DECA_DATA,
    ),
    LicensedFile(
        key="displacement",
        file="fixed_displacement_256.npy",
        purpose="the part of DECA's detail that is the same for everybody",
        licence=f"DECA's: {_MPI}",
        source=_DECA_DATA,
        layouts={"DECA": {"array": (256, 256)}},
    ),
    LicensedFile(
        key="arcface",
        file="ArcFace network (an .onnx file, or the name buffalo_l or antelopev2)",
        purpose="the identity; the names are packs of insightface",
        licence="insightface's weights: non-commercial research only; its code: MIT",
        source="download it from https://github.com/deepinsight/insightface/tree/master/model_zoo",
    ),
)
LICENSED: Mapping[str, LicensedFile] = MappingProxyType({row.key: row for row in _ROWS})


@dataclass(frozen=True, kw_only=True)
class LicensedFiles:
    """Where the user's files are: config key `model.face.licensed`.

    Attributes:
        flame: the head model's pickle, or its arrays as .safetensors or .npz.
        deca: deca_model.tar, or its tensors as .safetensors.
        albedo: FLAME_albedo_from_BFM.npz or FLAME_texture.npz; without it skin has one colour.
        template: head_template.obj.
        landmarks: landmark_embedding.npy.
        uv_mask: uv_face_eye_mask.png, for DECA's detail.
        displacement: fixed_displacement_256.npy, for DECA's detail.
        arcface: path of an ONNX file, or a pack of insightface (buffalo_l, antelopev2).
    """

    flame: Path | None = None
    deca: Path | None = None
    albedo: Path | None = None
    template: Path | None = None
    landmarks: Path | None = None
    uv_mask: Path | None = None
    displacement: Path | None = None
    arcface: str | None = None

    def require(self, key: str) -> Path:
        """The path of a file that is needed.

        Args:
            key: one of the names above but arcface, which may be no path.

        Raises:
            LicensedFileError: the file is not set or not there.
        """
        path: Path | None = getattr(self, key)
        if path is None:
            raise not_set(key)
        path = path.expanduser()
        if not path.is_file():
            raise LicensedFileError(
                f"{CONFIG_KEY}.{key} is {path}, where there is no file; {_expected(key)}"
            )
        return path


def not_set(key: str) -> LicensedFileError:
    """The error for a file that is needed and has no path in the configuration."""
    row = LICENSED[key]
    return LicensedFileError(
        f"{CONFIG_KEY}.{key} is not set; this model needs your own {row.file}: {row.source}, and "
        f"set {CONFIG_KEY}.{key} (licence: {row.licence})"
    )


def unusable(key: str, path: Path, why: str) -> LicensedFileError:
    """The error for a file that is there and is not what is expected."""
    return LicensedFileError(f"cannot use {path} ({CONFIG_KEY}.{key}): {why}; {_expected(key)}")


def publication(key: str, path: Path) -> str | None:
    """Which publication a file is, by its hash; a warning where the hash is not known.

    An unknown hash is no error: the hashes of not all publications are known, and a file may have
    been converted. What the file holds is checked in any case. A .safetensors file says itself
    what it was converted from.
    """
    known = LICENSED[key].sha256
    if path.suffix == ".safetensors":
        with safetensors.safe_open(path, framework="numpy") as converted:
            return (converted.metadata() or {}).get(key)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    for prefix, name in known.items():
        if digest.startswith(prefix):
            return name
    if known:
        _logger.warning(
            "%s has the unknown SHA-256 %s; known are %s. It holds what is expected and is used",
            path,
            digest,
            ", ".join(f"{prefix[:8]}… ({name})" for prefix, name in known.items()),
        )
    return None


def read_arrays(key: str, path: Path) -> tuple[str, dict[str, AnyArray]]:
    """Read a file's arrays and compare them with its layouts.

    Args:
        key: which licensed file it is.
        path: a pickle, .npy, .npz or .safetensors file.

    Returns:
        The name of the layout and its arrays; an array without a name is called "array".

    Raises:
        LicensedFileError: the file is damaged, would run code, or holds other arrays.
    """
    try:
        found = _read(path)
    except RefusedPickleError as error:
        raise unusable(key, path, str(error)) from error
    except (DamagedPickleError, safetensors.SafetensorError, zipfile.BadZipFile) as error:
        raise unusable(key, path, f"damaged or no file of this kind ({error})") from error
    except (OSError, ValueError, EOFError) as error:
        raise unusable(key, path, f"it cannot be read ({error})") from error
    layouts = LICENSED[key].layouts
    name = max(layouts, key=lambda layout: len(layouts[layout].keys() & found.keys()))
    arrays: dict[str, AnyArray] = {}
    for part, shape in layouts[name].items():
        value = found.get(part)
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
            raise unusable(key, path, f"got {_listed(found)}, expected {part} {_spelled(shape)}")
        if not _fits(value.shape, shape):
            raise unusable(
                key, path, f"its {part} is of shape {value.shape}, expected {_spelled(shape)}"
            )
        arrays[part] = value
    return name, arrays


def _read(path: Path) -> Mapping[str, object]:
    """A file's values by name, whatever its kind."""
    if path.suffix == ".safetensors":
        return dict(safetensors.numpy.load_file(path))
    if path.suffix == ".npz":
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    value = read_object_npy(path) if path.suffix == ".npy" else read_pickle(path)
    if isinstance(value, np.ndarray):
        return {"array": value}
    if not isinstance(value, dict):
        raise ValueError(f"it holds a {type(value).__name__}")
    return {str(name): part for name, part in value.items()}


def _fits(shape: tuple[int, ...], expected: Shape) -> bool:
    """Whether a shape is the expected one."""
    if expected[0] is ...:
        known = expected[1:]
        return len(shape) > len(known) and shape[len(shape) - len(known) :] == known
    return shape == expected


def _spelled(shape: Shape) -> str:
    """A shape as numpy writes it."""
    inner = ", ".join("…" if size is ... else str(size) for size in shape)
    return f"({inner},)" if len(shape) == 1 else f"({inner})"


def _listed(found: Mapping[str, object]) -> str:
    """The names a file holds, the first few."""
    names = sorted(found)
    return f"{len(names)} entries ({', '.join(names[:8])}{', …' if len(names) > 8 else ''})"


def _expected(key: str) -> str:
    """What the file should be and where to get it."""
    return f"expected {LICENSED[key].file}: {LICENSED[key].source}"
