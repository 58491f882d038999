"""Say in plain words whether a video carries our label: `python -m streamer.verify FILE`.

It exits with 0 when the file is labelled and intact, 1 when it is altered or not labelled, and 2
when it was asked wrongly. No server is asked.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from streamer.certificate import TEST_SIGNER
from streamer.errors import StreamerError, UsageError
from streamer.offline import EXIT_USER_ERROR
from streamer.options import Parser
from streamer.provenance import (
    ACTIONS,
    LABEL,
    SOURCE_TYPE,
    c2pa_library,
    mime_type,
    offline_context,
)

EXIT_NOT_GOOD = 1

_INTACT = frozenset({"Valid", "Trusted"})
_WORDS = {
    "assertion.bmffHash.mismatch": "the picture, the sound or their index is not what was signed",
    "assertion.hashedURI.mismatch": "the label is not what was signed",
    "claimSignature.mismatch": "the signature does not fit the label",
    "claimSignature.outsideValidity": "the certificate was not valid when the file was signed",
    "signingCredential.expired": "the certificate has expired",
    "signingCredential.invalid": "the certificate may not sign videos",
}
_UNTRUSTED = "signingCredential.untrusted"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a file says of itself, and whether that holds.

    Attributes:
        is_signed: it carries a C2PA manifest that can be read.
        is_labelled: the manifest is one of ours, saying that a model modified the video.
        is_intact: nothing was changed since it was signed.
        is_trusted: the signer's certificate leads to one of the roots given.
        signer: common name in the certificate; anyone can write anything into a test certificate.
        statement: our assertion, values as text.
        problems: what does not hold, in words.
    """

    file: str
    is_signed: bool = False
    is_labelled: bool = False
    is_intact: bool = False
    is_trusted: bool = False
    is_test_certificate: bool = False
    signer: str | None = None
    statement: Mapping[str, str]
    problems: Sequence[str]

    @property
    def is_good(self) -> bool:
        """Labelled and intact."""
        return self.is_labelled and self.is_intact


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    errors = Console(stderr=True, soft_wrap=True, markup=False, highlight=False)
    try:
        given = _parser().parse_args(arguments)
        verdict = verify(given.file, anchors=given.trust)
    except StreamerError as error:
        errors.print(f"error: {printable(str(error))}")
        return EXIT_USER_ERROR
    console = Console(soft_wrap=True, markup=False, highlight=False)
    if given.json:
        console.print(json.dumps({**asdict(verdict), "is_good": verdict.is_good}, indent=2))
    else:
        for text, style in sentences(verdict):
            console.print(text, style=style)
    return 0 if verdict.is_good else EXIT_NOT_GOOD


def verify(path: Path, *, anchors: Path | None = None) -> Verdict:
    """Read a file's label and check it against the file.

    Args:
        path: the video.
        anchors: PEM file of root certificates whose signers are trusted.

    Raises:
        UsageError: a file is missing or cannot be read, or c2pa-python is not installed.
    """
    library = c2pa_library()
    pem = None if anchors is None else _anchors(anchors)
    try:
        with path.open("rb") as file, offline_context(library, pem) as context:
            report = _report(library, file, path.suffix, context)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except library.C2paError as error:
        return _unreadable(path, str(error))
    return _judge(path, report)


def sentences(verdict: Verdict) -> Iterator[tuple[str, str]]:
    """The lines that say it, each with its rich style."""
    if not verdict.is_labelled:
        yield f"{verdict.file} does not carry our label.", "bold red"
    elif not verdict.is_intact:
        yield f"{verdict.file} carries our label, but was altered or wrongly signed.", "bold red"
    else:
        yield f"{verdict.file} is labelled as modified by AI, and intact.", "bold green"
    for problem in verdict.problems:
        yield f"- {problem}", "red"
    if verdict.is_labelled:
        model, code = (verdict.statement.get(key, "unknown") for key in ("model", "model_sha256"))
        yield f"model: {model} (SHA-256 {code})", ""
    for what in ("portrait", "driver"):
        if f"{what}_sha256" in verdict.statement:
            yield f"{what}: SHA-256 {verdict.statement[f'{what}_sha256']}", ""
    if verdict.signer is not None:
        yield f"signed by: {verdict.signer}, {_standing(verdict)}", ""


def printable(text: str) -> str:
    """Text from a stranger's file, without what would steer a terminal."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def _standing(verdict: Verdict) -> str:
    if not verdict.is_intact:
        return "as the file says, which does not hold"
    if verdict.is_trusted:
        return "whom the given roots vouch for"
    if verdict.is_test_certificate:
        return "which proves that nothing was changed since, not who made it"
    return "a name that no root given with --trust vouches for"


def _anchors(path: Path) -> str:
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the roots in {path}; give a PEM file") from error
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise UsageError(f"{path} holds no certificate; give a PEM file")
    return text


def _report(library: Any, file: Any, suffix: str, context: Any) -> dict[str, Any]:
    with library.Reader(mime_type(suffix), file, context=context) as reader:
        report = json.loads(reader.json())
    if not isinstance(report, dict):
        raise TypeError(f"expected an object from c2pa, got {type(report).__name__}")
    return report


def _unreadable(path: Path, message: str) -> Verdict:
    kind, _, reason = message.partition(": ")
    problem = (
        "it holds no C2PA manifest"
        if kind == "ManifestNotFound"
        else f"no label can be read from it: {printable(reason or message)}"
    )
    return Verdict(file=printable(str(path)), statement={}, problems=[problem])


def _judge(path: Path, report: Mapping[str, Any]) -> Verdict:
    active = report.get("manifests", {}).get(report.get("active_manifest"), {})
    state = report.get("validation_state")
    own = _own_statement(active)
    signer = active.get("signature_info", {}).get("common_name")
    problems = list(_problems(report)) if state not in _INTACT else []
    if own is None:
        problems.append("its manifest was written by another program or does not say it")
    return Verdict(
        file=printable(str(path)),
        is_signed=bool(active),
        is_labelled=own is not None,
        is_intact=state in _INTACT,
        is_trusted=state == "Trusted",
        is_test_certificate=signer == TEST_SIGNER,
        signer=None if signer is None else printable(str(signer)),
        statement=own or {},
        problems=problems,
    )


def _own_statement(manifest: Mapping[str, Any]) -> dict[str, str] | None:
    """Our assertion, where the manifest also says that a model modified the video."""
    data = {one.get("label"): one.get("data") for one in manifest.get("assertions", [])}
    own = data.get(LABEL)
    actions = [
        action
        for label, held in data.items()
        if str(label).startswith(ACTIONS) and isinstance(held, dict)
        for action in held.get("actions", [])
    ]
    is_said = any(action.get("digitalSourceType") == SOURCE_TYPE for action in actions)
    if not is_said or not isinstance(own, dict):
        return None
    return {printable(str(key)): printable(str(value)) for key, value in own.items()}


def _problems(report: Mapping[str, Any]) -> Iterator[str]:
    results = report.get("validation_results", {}).get("activeManifest", {})
    for failure in results.get("failure", []):
        code = failure.get("code")
        if code != _UNTRUSTED:
            yield _WORDS.get(code, printable(f"{code}: {failure.get('explanation')}"))


def _parser() -> Parser:
    parser = Parser(
        prog="python -m streamer.verify",
        description="Say whether a video carries our label, is intact, and who signed it.",
    )
    parser.add_argument("file", type=Path, help="an MP4")
    parser.add_argument("--json", action="store_true", help="print a JSON object instead")
    parser.add_argument("--trust", type=Path, metavar="FILE", help="PEM file of trusted roots")
    return parser


if __name__ == "__main__":
    sys.exit(main())
