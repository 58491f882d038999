"""A portrait and edits in, the edited picture out, as a PNG or JPEG file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from streamer.attributes import Place
from streamer.certificate import Credentials, SigningSettings, load_credentials
from streamer.engine import Engine, EngineSettings, find_model, load_engine, portrait_errors
from streamer.errors import DriverError, OutputError
from streamer.output_file import check_output, unfinished
from streamer.partial import file_hash
from streamer.places import Donors, GivenFile, dressed, read_places
from streamer.portrait import read_portrait
from streamer.provenance import (
    PICTURE_TYPES,
    Statement,
    check_can_sign,
    mime_type,
    sign_file,
)

_JPEG_QUALITY = 95


@dataclass(frozen=True, kw_only=True)
class StillJob:
    """What to make of a portrait.

    Attributes:
        places: files that attributes are taken from; pictures.
        face: which face of the portrait, counted from 1, left to right; None when there is one.
        signing: with which certificate the output is labelled; None leaves it unlabelled.
    """

    source: Path
    output: Path
    engine: EngineSettings = field(default_factory=EngineSettings)
    places: Mapping[Place, Path] = field(default_factory=dict)
    face: int | None = None
    can_overwrite: bool = False
    signing: SigningSettings | None = None


def edit_file(job: StillJob, *, load: Callable[[EngineSettings], Engine] = load_engine) -> None:
    """Edit a portrait; everything about the files is checked before the model is loaded.

    Args:
        job: what to make.
        load: makes the model.

    Raises:
        StreamerError: a user's error; then nothing was written.
    """
    portrait = read_portrait(job.source)
    given = read_places(job.places)
    for one in given:
        if one.picture is None:
            raise DriverError(f"{one.path} is a video; a still portrait takes pictures only")
    find_model(job.engine.model)
    check_output(
        job.output,
        suffixes=PICTURE_TYPES.keys(),
        inputs=(job.source, *job.places.values()),
        can_overwrite=job.can_overwrite,
    )
    credentials = None if job.signing is None else load_credentials(job.signing)
    if credentials is not None:
        check_can_sign(credentials)
    _write(job, _edited(job, portrait, given, load(job.engine)), credentials)


def _edited(
    job: StillJob, portrait: NDArray[np.uint8], given: tuple[GivenFile, ...], engine: Engine
) -> NDArray[np.uint8]:
    model = engine.reenactor
    with portrait_errors(job.source):
        source = model.encode_source(portrait, face=job.face)
    source = dressed(source, given, job.engine.controls, model)
    with Donors(engine, source, given) as donors:
        return model.still(source, donors.next_controls()).image


def _write(job: StillJob, image: NDArray[np.uint8], credentials: Credentials | None) -> None:
    """Under a hidden name, signed, and then under its own."""
    kind = mime_type(job.output.suffix)
    hidden = unfinished(job.output)
    try:
        if kind == "image/png":
            Image.fromarray(image).save(hidden, "PNG")
        else:
            Image.fromarray(image).save(hidden, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
        if credentials is not None:
            sign_file(hidden, _statement(job), credentials, kind)
        hidden.replace(job.output)
    except OSError as error:
        raise OutputError(
            f"cannot write {job.output}: {error.strerror}; free some space or choose another output"
        ) from error
    finally:
        hidden.unlink(missing_ok=True)


def _statement(job: StillJob) -> Statement:
    folder = find_model(job.engine.model)
    return Statement(
        model=folder.name,
        model_sha256=file_hash(folder),
        portrait_sha256=file_hash(job.source),
    )
