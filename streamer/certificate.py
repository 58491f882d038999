"""Who signs: a user's own certificate, or a test certificate made on this computer at first use.

A test certificate proves that a file was not altered since it was signed, not who made it: anyone
can make one.
"""

import datetime
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.errors import UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, CertificateBuilder, Name

TEST_SIGNER = "DiffFAE streamer test certificate"
"""Common name of every test certificate; whoever else takes this name only says less of himself."""

CHAIN_FILE = "chain.pem"
KEY_FILE = "key.pem"
AUTHORITY_FILE = "authority.pem"

_VALID_DAYS = 3650
_CURVES = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
_MISSING = (
    "signing needs the package cryptography, which is missing; run pip install '.[server]' or add "
    "--no-sign"
)


@dataclass(frozen=True, kw_only=True)
class SigningSettings:
    """Where the certificate comes from.

    Attributes:
        certificate: PEM file, the signer's certificate first, then those up to its root; None for
            the test certificate.
        key: PEM file of its private key, without a password.
        test_folder: where the test certificate is kept; None for the user's configuration folder.
    """

    certificate: Path | None = None
    key: Path | None = None
    test_folder: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """A certificate chain with its private key.

    Attributes:
        algorithm: C2PA's name of the signature: es256, es384, es512, ps256 or ed25519.
        chain_pem: the signer's certificate, then those that vouch for it.
        is_test: whether the chain was made here and vouches for no one.
    """

    algorithm: str
    chain_pem: bytes = field(repr=False)
    key_pem: bytes = field(repr=False)
    is_test: bool


def configuration_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """The user's folder for this program's settings (XDG base directories)."""
    base = environment.get("XDG_CONFIG_HOME", "")
    folder = Path(base) if Path(base).is_absolute() else Path("~/.config").expanduser()
    return folder / "difffae-streamer"


def load_credentials(settings: SigningSettings) -> Credentials:
    """The user's certificate and key, or the test certificate, made where there is none yet.

    Where the configuration folder cannot be written, a test certificate is made for this once.

    Raises:
        UsageError: a file is missing, is no certificate or key, or the two do not belong together.
    """
    if (settings.certificate is None) != (settings.key is None):
        raise UsageError("a certificate and its key go together; give --certificate and --key")
    if settings.certificate is None or settings.key is None:
        return _test_credentials(settings.test_folder or configuration_folder() / "test-signing")
    chain_pem = _read(settings.certificate, "certificate")
    key_pem = _read(settings.key, "key")
    return Credentials(
        algorithm=_algorithm(settings.certificate, chain_pem, settings.key, key_pem),
        chain_pem=chain_pem,
        key_pem=key_pem,
        is_test=False,
    )


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the {what} {path}: {error.strerror}") from error


def _algorithm(certificate: Path, chain_pem: bytes, key: Path, key_pem: bytes) -> str:
    """The signature that a key makes, once it is known to be the certificate's."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError as error:
        raise UsageError(_MISSING) from error
    try:
        chain = x509.load_pem_x509_certificates(chain_pem)
    except ValueError as error:
        raise UsageError(f"{certificate} holds no certificate; give a PEM file") from error
    try:
        private = load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{key} holds no private key that can be read; give a PEM file without a password"
        ) from error
    if chain[0].public_key() != private.public_key():
        raise UsageError(f"{key} is not the key of the first certificate in {certificate}")
    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name in _CURVES:
        return _CURVES[private.curve.name]
    if isinstance(private, rsa.RSAPrivateKey):
        return "ps256"
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return "ed25519"
    raise UsageError(f"{key} is of a kind that cannot sign; use EC P-256, RSA or Ed25519")


def _test_credentials(folder: Path) -> Credentials:
    try:
        if not folder.is_dir():
            _keep(folder, _make_files())
        files = {name: (folder / name).read_bytes() for name in (CHAIN_FILE, KEY_FILE)}
        _algorithm(folder / CHAIN_FILE, files[CHAIN_FILE], folder / KEY_FILE, files[KEY_FILE])
    except FileNotFoundError as error:
        if folder.is_dir():
            raise UsageError(
                f"{folder} lacks {Path(str(error.filename)).name}; delete the folder to have a new "
                "test certificate made"
            ) from error
        files = _make_files()
    except OSError:
        files = _make_files()
    return Credentials(
        algorithm="es256", chain_pem=files[CHAIN_FILE], key_pem=files[KEY_FILE], is_test=True
    )


def _keep(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put all files in place at once; where another process was first, its files stay."""
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as made:
        whole = Path(made) / folder.name
        whole.mkdir(mode=0o700)
        for name, data in files.items():
            (whole / name).touch(mode=0o600)
            (whole / name).write_bytes(data)
        try:
            whole.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise


def _make_files() -> dict[str, bytes]:
    """An authority that signs one certificate and is then forgotten: its key is never stored."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID
    except ImportError as error:
        raise UsageError(_MISSING) from error
    authority_key = ec.generate_private_key(ec.SECP256R1())
    signer_key = ec.generate_private_key(ec.SECP256R1())
    issuer = _name("DiffFAE streamer test authority")
    authority = _signed(
        _builder(issuer, issuer, authority_key, is_authority=True), authority_key, authority_key
    )
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
    builder = _builder(_name(TEST_SIGNER), issuer, signer_key, is_authority=False)
    signer = _signed(builder.add_extension(usage, critical=False), signer_key, authority_key)
    pem = serialization.Encoding.PEM
    return {
        CHAIN_FILE: signer.public_bytes(pem) + authority.public_bytes(pem),
        AUTHORITY_FILE: authority.public_bytes(pem),
        KEY_FILE: signer_key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    }


def _name(common_name: str) -> "Name":
    from cryptography import x509

    return x509.Name(
        [
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "made on the user's computer"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name),
        ]
    )


def _builder(
    subject: "Name", issuer: "Name", key: "EllipticCurvePrivateKey", *, is_authority: bool
) -> "CertificateBuilder":
    from cryptography import x509

    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=_VALID_DAYS))
        .add_extension(
            x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None),
            critical=True,
        )
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_authority,
                key_cert_sign=is_authority,
                crl_sign=is_authority,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )


def _signed(
    builder: "CertificateBuilder",
    key: "EllipticCurvePrivateKey",
    issuer_key: "EllipticCurvePrivateKey",
) -> "Certificate":
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    subject_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    return (
        builder.add_extension(subject_id, critical=False)
        .add_extension(issuer_id, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
