"""A signed C2PA manifest in an MP4, PNG or JPEG: modified by a model, by which one, of what.

The manifest names the portrait and the driver by their hashes only: neither is copied into it, and
an ingredient without its content could not be checked by anyone.
"""

import importlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from streamer.certificate import Credentials
from streamer.errors import OutputError, UsageError

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
"""IPTC: media that a trained model made together with recorded media."""

LABEL = "org.difffae.reenactment"
"""Our own assertion: the model and the hashes."""

PROGRAM = "DiffFAE streamer"
ACTIONS = "c2pa.actions"
MIME_TYPE = "video/mp4"
PICTURE_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}

_MISSING = (
    "the package c2pa-python, which reads and writes signed labels, is missing; run pip install "
    "'.[server]'"
)
_OFFLINE = {
    "version": 1,
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True},
    "builder": {"thumbnail": {"enabled": False}},
}


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What the label says of a video.

    Attributes:
        model: the model's name.
        model_sha256: hex hash of its files.
        portrait_sha256: hex hash of the portrait's file or pixels.
        driver_sha256: hex hash of the driver's file; None for a camera, and for a picture.
    """

    model: str
    model_sha256: str
    portrait_sha256: str
    driver_sha256: str | None = None


def can_sign() -> bool:
    """Whether the packages that signing needs are installed."""
    return all(find_spec(name) is not None for name in ("c2pa", "cryptography"))


def c2pa_library() -> Any:
    """The package c2pa, which has no types of its own.

    Raises:
        UsageError: it is not installed, or its native library cannot be loaded.
    """
    try:
        return importlib.import_module("c2pa")
    except ImportError as error:
        raise UsageError(_MISSING) from error


def offline_context(library: Any, anchors_pem: str | None = None) -> Any:
    """Settings under which c2pa asks no server; `anchors_pem` are the roots that are trusted."""
    trust = {} if anchors_pem is None else {"trust": {"user_anchors": anchors_pem}}
    return library.Context(library.Settings.from_dict({**_OFFLINE, **trust}))


def mime_type(suffix: str) -> str:
    """Of files named so; MP4 where it is no picture's name."""
    return PICTURE_TYPES.get(suffix.lower(), MIME_TYPE)


def sign_file(
    path: Path, statement: Statement, credentials: Credentials, kind: str = MIME_TYPE
) -> None:
    """Put a signed manifest into a file; it is replaced at once, or left as it was.

    Python cannot be interrupted in the callbacks of a native library, hence a thread: Ctrl-C is
    seen once the file is signed.

    Args:
        path: of the file, whatever its name.
        statement: what the label says.
        credentials: by whom.
        kind: MIME type of what is in it.

    Raises:
        OutputError: the file cannot be read or written, or is of another kind.
        UsageError: c2pa-python is missing, or the certificate cannot sign.
    """
    library = c2pa_library()
    definition = {**manifest(statement), "format": kind}
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="sign") as pool:
        pool.submit(_replace_signed, library, path, definition, credentials).result()


def check_can_sign(credentials: Credentials) -> None:
    """Sign a tiny picture in memory, so that a bad certificate is known before any work is done.

    Raises:
        UsageError: c2pa-python is missing, or the certificate cannot sign.
    """
    library = c2pa_library()
    picture = BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    picture.seek(0)
    trial = manifest(Statement(model="none", model_sha256="", portrait_sha256=""))
    try:
        _sign(library, {**trial, "format": "image/png"}, credentials, (picture, BytesIO()))
    except library.C2paError as error:
        raise _bad_certificate(str(error)) from error


def _replace_signed(
    library: Any, path: Path, definition: Mapping[str, Any], credentials: Credentials
) -> None:
    signed = path.with_name(f".{path.name}.signing")
    try:
        with path.open("rb") as source, signed.open("w+b") as target:
            _sign(library, definition, credentials, (source, target))
            target.flush()
            os.fsync(target.fileno())
        signed.replace(path)
    except OSError as error:
        raise OutputError(
            f"cannot sign {path}: {error.strerror or error}; free some space or choose another "
            "output"
        ) from error
    except library.C2paError as error:
        raise _plain_error(path, str(error)) from error
    finally:
        signed.unlink(missing_ok=True)


def _sign(
    library: Any,
    definition: Mapping[str, Any],
    credentials: Credentials,
    files: tuple[BinaryIO, BinaryIO],
) -> None:
    info = library.C2paSignerInfo(
        credentials.algorithm, credentials.chain_pem, credentials.key_pem, None
    )
    with (
        offline_context(library) as context,
        library.Signer.from_info(info) as signer,
        library.Builder(definition, context) as builder,
    ):
        builder.sign(signer, definition["format"], *files)


def manifest(statement: Statement) -> dict[str, Any]:
    """The manifest as c2pa's JSON; actions as C2PA 2.x names them."""
    agent = {"name": f"{PROGRAM}, model {statement.model}"}
    actions = [
        {
            "action": "c2pa.created",
            "digitalSourceType": SOURCE_TYPE,
            "softwareAgent": agent,
            "description": "A portrait was moved by a model, by a face or as a person asked.",
        },
        {
            "action": "c2pa.edited",
            "digitalSourceType": SOURCE_TYPE,
            "softwareAgent": agent,
            "description": "The face was generated and pasted into the portrait.",
        },
    ]
    hashes = {
        "model_sha256": statement.model_sha256,
        "portrait_sha256": statement.portrait_sha256,
        "driver_sha256": statement.driver_sha256,
    }
    own = {"model": statement.model, **{k: v for k, v in hashes.items() if v is not None}}
    return {
        "claim_generator_info": [{"name": PROGRAM, "version": _version()}],
        "format": MIME_TYPE,
        "assertions": [
            {"label": f"{ACTIONS}.v2", "created": True, "data": {"actions": actions}},
            {"label": LABEL, "created": True, "data": own},
        ],
    }


def _version() -> str:
    try:
        return version("difffae-streamer")
    except PackageNotFoundError:
        return "from a checkout"


def _plain_error(path: Path, message: str) -> OutputError | UsageError:
    kind, _, reason = message.partition(": ")
    if kind == "Io":
        return OutputError(f"cannot sign {path}: {reason}; free some space")
    if kind == "Signature" or "COSE" in reason:
        return _bad_certificate(message)
    return OutputError(f"cannot sign {path}: {reason or message}")


def _bad_certificate(message: str) -> UsageError:
    return UsageError(
        f"the certificate cannot sign: {message.partition(': ')[2] or message}; C2PA wants the "
        "signer's certificate followed by those that vouch for it, all valid today"
    )
