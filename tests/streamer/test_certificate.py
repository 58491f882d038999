import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from signing_media import issue, private_pem
from streamer.certificate import (
    AUTHORITY_FILE,
    CHAIN_FILE,
    KEY_FILE,
    TEST_SIGNER,
    Credentials,
    SigningSettings,
    configuration_folder,
    load_credentials,
)
from streamer.errors import UsageError

FILES = sorted([AUTHORITY_FILE, CHAIN_FILE, KEY_FILE])


def made(folder: Path) -> Credentials:
    return load_credentials(SigningSettings(test_folder=folder))


def test_a_test_certificate_is_made_once_and_then_found(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "test-signing"
    first = made(folder)
    assert first.is_test
    assert first.algorithm == "es256"
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert list(folder.parent.iterdir()) == [folder]
    assert made(folder) == first


def test_only_the_user_can_read_the_key(tmp_path: Path) -> None:
    folder = tmp_path / "test-signing"
    made(folder)
    assert stat.S_IMODE((folder / KEY_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_authority_vouches_for_the_signer_and_says_it_is_a_test(tmp_path: Path) -> None:
    signer, authority = x509.load_pem_x509_certificates(made(tmp_path / "t").chain_pem)
    signer.verify_directly_issued_by(authority)
    name = signer.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
    assert name == TEST_SIGNER
    assert "test certificate" in name
    assert not signer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_the_key_does_not_show_where_credentials_are_printed(tmp_path: Path) -> None:
    assert "PRIVATE" not in repr(made(tmp_path / "t"))


def test_two_computers_have_different_test_certificates(tmp_path: Path) -> None:
    assert made(tmp_path / "a").key_pem != made(tmp_path / "b").key_pem


def test_where_nothing_can_be_kept_a_certificate_is_made_for_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder", "utf-8")
    credentials = made(tmp_path / "file" / "test-signing")
    assert credentials.is_test
    assert b"BEGIN CERTIFICATE" in credentials.chain_pem
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_lacks_its_key_is_reported_and_not_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    made(folder)
    (folder / KEY_FILE).unlink()
    with pytest.raises(UsageError, match=r"lacks key\.pem; delete the folder"):
        made(folder)
    assert not (folder / KEY_FILE).exists()


def test_the_configuration_folder_follows_xdg() -> None:
    assert configuration_folder({"XDG_CONFIG_HOME": "/x"}) == Path("/x/difffae-streamer")
    home = Path("~/.config/difffae-streamer").expanduser()
    assert configuration_folder({}) == home
    assert configuration_folder({"XDG_CONFIG_HOME": "relative"}) == home


@pytest.mark.parametrize("missing", ["certificate", "key"])
def test_a_certificate_without_its_key_is_refused(tmp_path: Path, missing: str) -> None:
    made(tmp_path / "t")
    paths = {"certificate": tmp_path / "t" / CHAIN_FILE, "key": tmp_path / "t" / KEY_FILE}
    del paths[missing]
    with pytest.raises(UsageError, match="go together"):
        load_credentials(SigningSettings(**paths))


def test_a_users_files_are_read_and_are_no_test(tmp_path: Path) -> None:
    of_test = made(tmp_path / "t")
    own = load_credentials(
        SigningSettings(certificate=tmp_path / "t" / CHAIN_FILE, key=tmp_path / "t" / KEY_FILE)
    )
    assert (own.chain_pem, own.key_pem) == (of_test.chain_pem, of_test.key_pem)
    assert not own.is_test


def test_what_is_wrong_with_a_users_files_is_one_sentence(tmp_path: Path) -> None:
    made(tmp_path / "t")
    made(tmp_path / "other")
    certificate, key = tmp_path / "t" / CHAIN_FILE, tmp_path / "t" / KEY_FILE
    (tmp_path / "junk").write_bytes(b"\xffjunk")
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    (tmp_path / "locked").write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    cases = [
        (tmp_path / "none", key, "cannot read the certificate"),
        (certificate, tmp_path / "none", "cannot read the key"),
        (tmp_path / "junk", key, "holds no certificate"),
        (certificate, tmp_path / "junk", "holds no private key"),
        (certificate, tmp_path / "locked", "without a password"),
        (certificate, tmp_path / "other" / KEY_FILE, "is not the key of"),
    ]
    for given_certificate, given_key, sentence in cases:
        with pytest.raises(UsageError, match=sentence):
            load_credentials(SigningSettings(certificate=given_certificate, key=given_key))


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP384R1()), "es384"),
        (ed25519.Ed25519PrivateKey.generate(), "ed25519"),
        (rsa.generate_private_key(public_exponent=65537, key_size=2048), "ps256"),
    ],
    ids=["p-384", "ed25519", "rsa"],
)
def test_the_signature_follows_from_the_key(tmp_path: Path, key: object, algorithm: str) -> None:
    certificate = issue(tmp_path, key)
    (tmp_path / "key.pem").write_bytes(private_pem(key))
    settings = SigningSettings(certificate=certificate, key=tmp_path / "key.pem")
    assert load_credentials(settings).algorithm == algorithm
