"""Certificates of an authority of the tests' own, and small signed videos."""

import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID

from streamer.certificate import Credentials, SigningSettings, load_credentials
from streamer.provenance import Statement, sign_file
from streamer_media import VideoOptions, moving_frames, write_video

STATEMENT = Statement(
    model="lite-256", model_sha256="a" * 64, portrait_sha256="b" * 64, driver_sha256="c" * 64
)
_NOW = datetime.datetime.now(datetime.UTC)


def private_pem(key: Any) -> bytes:
    """A private key as an unencrypted PEM file."""
    encoding, no_password = serialization.Encoding.PEM, serialization.NoEncryption()
    held: bytes = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, no_password)
    return held


def issue(
    folder: Path,
    key: Any,
    *,
    name: str = "Jane Doe",
    is_self_signed: bool = False,
    days: tuple[int, int] = (-1, 30),
) -> Path:
    """Write chain.pem, the certificate of `key` with its authority's, and authority.pem."""
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("Tests' authority", authority_key, "Tests' authority", authority_key)
    issuer, issuer_key = (name, key) if is_self_signed else ("Tests' authority", authority_key)
    signer = _certificate(name, key, issuer, issuer_key, is_authority=is_self_signed, days=days)
    pem = serialization.Encoding.PEM
    (folder / "authority.pem").write_bytes(authority.public_bytes(pem))
    above = b"" if is_self_signed else authority.public_bytes(pem)
    (folder / "chain.pem").write_bytes(signer.public_bytes(pem) + above)
    return folder / "chain.pem"


def users_credentials(folder: Path, **changes: Any) -> Credentials:
    """What a user with a real certificate gives."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = issue(folder, key, **changes)
    (folder / "key.pem").write_bytes(private_pem(key))
    return load_credentials(SigningSettings(certificate=certificate, key=folder / "key.pem"))


def signed_video(path: Path, credentials: Credentials | None = None, **options: Any) -> Path:
    """Ten frames, signed; with the test certificate where no other is given."""
    write_video(path, moving_frames(10), VideoOptions(**options))
    sign_file(path, STATEMENT, credentials or load_credentials(SigningSettings()))
    return path


def _certificate(
    name: str,
    key: Any,
    issuer: str,
    issuer_key: Any,
    *,
    is_authority: bool = True,
    days: tuple[int, int] = (-60, 60),
) -> x509.Certificate:
    start, end = (_NOW + datetime.timedelta(days=day) for day in days)
    usage = dict.fromkeys(
        (
            "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
            "encipher_only", "decipher_only",
        ),
        False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not is_authority,
                key_cert_sign=is_authority,
                crl_sign=is_authority,
                **usage,
            ),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    if not is_authority:
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(usages, critical=False)
    is_edwards = isinstance(issuer_key, ed25519.Ed25519PrivateKey)
    return builder.sign(issuer_key, None if is_edwards else hashes.SHA256())


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Tests"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name),
        ]
    )
