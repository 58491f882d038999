"""The paper's identity encoder: ArcFace in the user's ONNX file, aligned faces in, tokens out.

The file runs in onnxruntime itself. Of insightface only its rules are kept: where its packs lie
(model.md section 4) and how it tells which pixels a network wants.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from difffae.arrays import Identities, Images
from difffae.face.identity import ALIGNED_SIZE_PX
from difffae.face.licensed import LicensedFileError, not_set, unusable

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_KEY = "arcface"
# The recognition network among the files of an insightface pack.
_PACKS = {"buffalo_l": "w600k_r50.onnx", "antelopev2": "glintr100.onnx"}
_MODELS = Path(".insightface") / "models"  # below the user's home
_FIRST_NODES = 8  # among which insightface looks for a network's own normalisation
_HALF_RANGE = 127.5
_INPUT = [3, ALIGNED_SIZE_PX, ALIGNED_SIZE_PX]


class ArcFaceEncoder(nn.Module):
    """A face embedder in an ONNX file, as the identity encoder of a model.

    It has no weights of its own for torch: it is never trained, saved or moved, and a copy is the
    same session.

    Attributes:
        width: length of the tokens.
    """

    def __init__(self, path: Path) -> None:
        """Open the file and try it once.

        Raises:
            LicensedFileError: the file is missing, no ONNX, or not an embedder of aligned faces.
        """
        super().__init__()
        if not path.is_file():
            raise unusable(_KEY, path, "there is no such file")
        self._session = _open_session(path)
        self._wants_pixels = _normalises_itself(path)
        self._input = self._session.get_inputs()[0].name
        batch = self._session.get_inputs()[0].shape[0]
        self._batch_size = batch if isinstance(batch, int) else None
        self.width = self._try(path)

    def forward(self, aligned: Images) -> Identities:
        """Tokens of length sqrt(width), entries of order 1, as the bundled encoder's.

        Args:
            aligned: faces aligned by `align_face`, RGB in [-1, 1], 112 px a side.
        """
        faces = aligned.detach().float()
        pixels = (faces + 1) * _HALF_RANGE if self._wants_pixels else faces
        embedded = torch.from_numpy(self._run(pixels.cpu().numpy())).to(aligned.device)
        return cast(Tensor, F.normalize(embedded, dim=-1) * self.width**0.5)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A session cannot be copied and never changes."""
        return self

    def _run(self, faces: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embeddings of any number of faces, in the batches that the file takes."""
        count = len(faces)
        size = self._batch_size or count
        filled = np.concatenate([faces, faces[:1].repeat(-count % size, 0)])
        parts = [
            self._session.run(None, {self._input: filled[start : start + size]})[0]
            for start in range(0, count, size)
        ]
        return np.asarray(np.concatenate(parts)[:count], np.float32)

    def _try(self, path: Path) -> int:
        """Length of the embedding of a grey face."""
        faces = np.zeros((self._batch_size or 1, *_INPUT), np.float32)
        try:
            embedded = self._run(faces)
        except _onnxruntime_errors() as error:
            raise unusable(_KEY, path, f"it does not run ({error})") from error
        if embedded.ndim != 2 or len(embedded) != len(faces):
            raise unusable(
                _KEY, path, f"it gives {embedded.shape} for {len(faces)} faces, not a vector each"
            )
        return embedded.shape[1]


def load_arcface(name: str | None, *, width: int | None = None) -> ArcFaceEncoder:
    """The embedder that `model.face.licensed.arcface` names.

    Args:
        name: path of an ONNX file, or a pack of insightface: buffalo_l or antelopev2, looked for
            where insightface downloads it, ~/.insightface/models.
        width: length of the tokens that the model takes (`model.identity.width`); None: any.

    Raises:
        LicensedFileError: nothing is set, or the file is missing or not what is expected.
    """
    if name is None:
        raise not_set(_KEY)
    path = _find_pack(name) if name in _PACKS else Path(name).expanduser()
    encoder = ArcFaceEncoder(path)
    if width is not None and encoder.width != width:
        raise unusable(
            _KEY,
            path,
            f"its embeddings have {encoder.width} entries and model.identity.width is {width}",
        )
    return encoder


def _find_pack(name: str) -> Path:
    """The recognition network of an installed pack; antelopev2's archive nests a folder."""
    folder = Path.home() / _MODELS / name
    places = [folder / _PACKS[name], folder / name / _PACKS[name]]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise unusable(
            _KEY,
            places[0],
            f"pack {name} is not there, unpack {name}.zip of insightface's releases",
        )
    return found


def _normalises_itself(path: Path) -> bool:
    """Whether the network subtracts and scales first, as those exported from mxnet do."""
    try:
        import onnx
    except ImportError as error:
        raise _not_installed("onnx") from error
    nodes = onnx.load(path, load_external_data=False).graph.node[:_FIRST_NODES]
    return all(
        any(node.name.startswith(starts) for node in nodes)
        for starts in (("Sub", "_minus"), ("Mul", "_mul"))
    )


def _open_session(path: Path) -> "InferenceSession":
    try:
        import onnxruntime
    except ImportError as error:
        raise _not_installed("onnxruntime") from error
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
    providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
    try:
        session = onnxruntime.InferenceSession(str(path), providers=providers)
    except _onnxruntime_errors() as error:
        raise unusable(_KEY, path, f"it is damaged or no ONNX file ({error})") from error
    _check_contract(session, path)
    return session


def _check_contract(session: "InferenceSession", path: Path) -> None:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise unusable(
            _KEY, path, f"it has {len(inputs)} inputs and {len(outputs)} outputs, not one of each"
        )
    shape = inputs[0].shape
    sizes = zip(shape[1:], _INPUT, strict=False)
    if len(shape) != 1 + len(_INPUT) or any(
        isinstance(got, int) and got != expected for got, expected in sizes
    ):
        raise unusable(_KEY, path, f"it takes {shape}, not faces of 3x112x112")


def _not_installed(package: str) -> LicensedFileError:
    return LicensedFileError(
        f"model.identity.kind arcface needs the package {package}, which is not installed: "
        "pip install 'difffae-streamer[licensed]'"
    )


def _onnxruntime_errors() -> tuple[type[Exception], ...]:
    """What onnxruntime raises for a file it cannot use; the classes share no base of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as raised

    return (
        raised.Fail,
        raised.InvalidArgument,
        raised.InvalidGraph,
        raised.InvalidProtobuf,
        raised.NoModel,
        raised.NotImplemented,
        raised.RuntimeException,
    )
