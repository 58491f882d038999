"""The one door to the model: what a reenactor does, how to load one, its errors in plain words."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from streamer.attributes import FACE_NUMBERS, Place, red_green_blue
from streamer.controls import LiveControls
from streamer.errors import ControlError, DriverError, ModelError, PortraitError
from streamer.memory import without_collections
from streamer.reenactor import Dresser as Dresser
from streamer.reenactor import Reenactor as Reenactor

if TYPE_CHECKING:
    from difffae.controls import Controls as Controls
    from difffae.face.edit import Donor as Donor
    from difffae.pipeline import Prepared as Prepared
    from difffae.pipeline import Reenacted as Reenacted
    from difffae.pipeline import Source as Source
    from difffae.pipeline import StreamState as StreamState
    from difffae.pipeline import Trail as Trail


Runtime = Literal["auto", "eager", "inductor", "openvino", "tensorrt"]
_LAMP_FIELDS = {
    "light_azimuth": "azimuth_deg",
    "light_elevation": "elevation_deg",
    "light_temperature": "temperature_k",
    "light_strength": "strength",
    "light_ambient": "ambient",
}
_PICKLE_SUFFIXES = frozenset({".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin"})


def make_dresser(reenactor: Reenactor) -> Dresser:
    """A dresser that uses this model, and so is for the same thread."""
    from difffae.pipeline import Pipeline
    from difffae.scenery import Blur, Colour, Exchange, Scenery, SceneryEditor, SwapError

    editor = SceneryEditor(cast(Pipeline, reenactor))

    def background(
        controls: LiveControls, behind: "NDArray[np.uint8] | Source | None"
    ) -> "NDArray[np.uint8] | Colour | Blur | Exchange | None":
        if isinstance(behind, np.ndarray):
            return behind
        if behind is not None:
            return Exchange(donor=behind)
        if controls.background_colour:
            red, green, blue = red_green_blue(controls.background_colour)
            return Colour(red=red, green=green, blue=blue)
        return Blur(radius=controls.background_blur) if controls.background_blur else None

    def dress(
        source: "Source",
        controls: LiveControls,
        given: "Mapping[Place, NDArray[np.uint8] | Source]",
    ) -> "Source":
        worn = {
            place: Exchange(donor=donor, amount=getattr(controls, f"{place}_strength"))
            for place, donor in given.items()
            if place != "background" and not isinstance(donor, np.ndarray)
        }
        scenery = Scenery(
            background=background(controls, given.get("background")),
            hair=worn.get("hair"),
            clothes=worn.get("clothes"),
            way=controls.swap,
        )
        try:
            return editor.edit(source, scenery)
        except SwapError as error:
            raise ControlError(_first_line(error)) from error

    return dress


def backdrop_of(picture: NDArray[np.uint8], reenactor: Reenactor) -> "NDArray[np.uint8] | Source":
    """A portrait, so that its person is left out; the picture as it is where it is not one."""
    from difffae.face.tracker import FaceNotFoundError, SeveralFacesError

    try:
        return reenactor.encode_source(picture)
    except (FaceNotFoundError, SeveralFacesError):
        return picture


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """Which model, where, and how it moves the portrait.

    Attributes:
        model: a bundled name, or a folder with config.yaml and safetensors.
        controls: what a person on camera may change while streaming.
        seed: of the noise.
        warm_start: whether each frame starts from the one before.
        max_side_px: larger portraits are scaled down to this for live sessions.
    """

    model: str = "lite-256"
    device: str = "cpu"
    runtime: Runtime = "auto"
    controls: LiveControls = field(default_factory=LiveControls)
    seed: int = 0
    warm_start: bool = False
    max_side_px: int = 720


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A loaded model with the controls it is to be run with.

    Attributes:
        beside: makes one more reenactor of the same networks, for use in another thread at the same
            time; None where there can be only one.
        encode_kept: `Reenactor.encode_source` whose answers stay on the disk for later runs; None
            where there is none.
    """

    reenactor: Reenactor
    controls: "Controls"
    beside: Callable[[], Reenactor] | None = None
    encode_kept: Callable[..., "Source"] | None = None

    def make_encoder(self) -> Reenactor:
        """What portraits are encoded with while `reenactor` is busy with frames."""
        return self.reenactor if self.beside is None else self.beside()

    def encode_source(
        self, image: NDArray[np.uint8], *, face: int | None, is_kept: bool
    ) -> "Source":
        """See `Reenactor.encode_source`; kept ones come from the disk, and are left there."""
        if is_kept and self.encode_kept is not None:
            return self.encode_kept(image, face=face)
        return self.reenactor.encode_source(image, face=face)


def find_model(model: str) -> Path:
    """The folder of a bundled name or of a user's own model, without importing the model's code.

    Raises:
        ModelError: there is none, or it is a pickle.
    """
    package = find_spec("difffae")
    places = [] if package is None else list(package.submodule_search_locations or [])
    for folder in [*(Path(place) / "weights" / model for place in places), Path(model)]:
        if folder.is_dir():
            _refuse_pickles(folder)
            return folder
    if Path(model).suffix.lower() in _PICKLE_SUFFIXES:
        raise ModelError(f"{model} is a pickle, {_NO_PICKLES}")
    raise ModelError(
        f"there is no model {model}; name a bundled one or a folder with config.yaml and "
        "safetensors files"
    )


def _refuse_pickles(folder: Path) -> None:
    pickles = sorted(
        path.name for path in folder.iterdir() if path.suffix.lower() in _PICKLE_SUFFIXES
    )
    if pickles and not any(folder.glob("*.safetensors")):
        raise ModelError(f"{folder / pickles[0]} is a pickle, {_NO_PICKLES}")


_NO_PICKLES = (
    "which can run any code when read; name a folder with config.yaml and safetensors files"
)


def load_engine(settings: EngineSettings) -> Engine:
    """Import the model's packages and load its weights: seconds, so check everything else first.

    Torch answers a request for CUDA that it was not built for with an AssertionError.

    Raises:
        ModelError: unknown model, wrong or altered weights, no such device or runtime.
    """
    with without_collections():
        return _load(settings)


def _load(settings: EngineSettings) -> Engine:
    from difffae import load_pipeline
    from difffae.loading import find_folder
    from difffae.runtime.threads import num_stage_threads
    from difffae.source_cache import SourceCache

    controls = model_controls(settings.controls, settings.seed, is_warm=settings.warm_start)
    try:
        pipeline = load_pipeline(
            settings.model,
            device=settings.device,
            runtime=settings.runtime,
            num_threads=num_stage_threads(),
        )
    except (ValueError, RuntimeError, OSError, AssertionError) as error:
        raise ModelError(
            f"cannot load model {settings.model} on {settings.device}: {_first_line(error)}"
        ) from error
    kept = SourceCache(
        pipeline, find_folder(settings.model), device=settings.device, settings=(settings.runtime,)
    )
    return Engine(
        reenactor=pipeline,
        controls=controls,
        beside=pipeline.beside,
        encode_kept=kept.encode_source,
    )


def model_controls(
    controls: LiveControls,
    seed: int,
    donors: "Mapping[str, Donor] | None" = None,
    *,
    is_warm: bool = False,
) -> "Controls":
    """What a session's controls are to the model; mirroring and what is worn are done before it.

    Args:
        controls: of the session.
        seed: of the noise.
        donors: the faces that attributes are taken from.
        is_warm: start each frame from the one before it.
    """
    from difffae import Controls
    from difffae.diffusion.warm_start import WarmStart
    from difffae.face.edit import Edit
    from difffae.face.lamp import lamp_of

    edits: dict[str, Any] = {name: getattr(controls, name) for name in FACE_NUMBERS}
    edits.update(donors or {})
    lamp = {field: getattr(controls, name) for name, field in _LAMP_FIELDS.items()}
    return Controls(
        motion=controls.motion,
        strength=controls.strength,
        moves_pose=controls.pose,
        moves_expression=controls.expression,
        moves_eyes=controls.eyes,
        moves_mouth=controls.mouth,
        smoothing=controls.smoothing,
        light=controls.light,
        lamp=lamp_of(None if controls.light_preset == "none" else controls.light_preset, **lamp),
        edit=Edit(**edits),
        shows_slots=controls.show_slots,
        num_steps=controls.steps,
        seed=seed,
        warm_start=WarmStart() if is_warm else None,
    )


def following(controls: "Controls") -> "Controls":
    """The same motion with all of the face following it and nothing edited."""
    from difffae.face.edit import Edit

    return replace(
        controls,
        moves_pose=True,
        moves_expression=True,
        moves_eyes=True,
        moves_mouth=True,
        edit=Edit(),
    )


def with_donors(controls: "Controls", donors: "Mapping[str, Donor]") -> "Controls":
    """The same with attributes taken from these faces."""
    named: dict[str, Any] = dict(donors)
    return replace(controls, edit=replace(controls.edit, **named))


@contextmanager
def portrait_errors(path: Path | str) -> Iterator[None]:
    """Say which portrait has no face or several, and how to pick one.

    Raises:
        PortraitError: in place of the model's own error.
    """
    try:
        yield
    except ValueError as error:
        from difffae.face.tracker import FaceNotFoundError, SeveralFacesError

        if isinstance(error, SeveralFacesError):
            raise PortraitError(
                f"{path}: {_first_line(error)} (--face N, 1 being the leftmost)"
            ) from error
        if isinstance(error, FaceNotFoundError):
            raise PortraitError(f"{path}: {_first_line(error)}") from error
        raise


@contextmanager
def donor_errors(path: Path) -> Iterator[None]:
    """Say which picture that an attribute is to be taken from has no face or several.

    Raises:
        PortraitError: in place of the model's own error.
    """
    try:
        yield
    except ValueError as error:
        from difffae.face.tracker import FaceNotFoundError, SeveralFacesError

        if isinstance(error, SeveralFacesError):
            raise PortraitError(f"{path} shows several faces; cut out the one to use") from error
        if isinstance(error, FaceNotFoundError):
            raise PortraitError(
                f"{path} shows no face that an attribute could be taken from; use another picture"
            ) from error
        raise


@contextmanager
def driver_errors(
    what: str, advice: str = "name a frame that shows one with --reference"
) -> Iterator[None]:
    """Say which part of the driver has no face, and what to do.

    Raises:
        DriverError: in place of the model's own error.
    """
    try:
        yield
    except ValueError as error:
        from difffae.face.tracker import FaceNotFoundError

        if isinstance(error, FaceNotFoundError):
            raise DriverError(f"no face found in {what}; {advice}") from error
        raise


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
