"""A certificate authority of this machine alone, and the certificate it gives to ``kuttab serve --tls``.

Both are made at the first start and kept in the data folder, keys with mode 0600. The authority is only ever named in our kubeconfig;
nothing is added to what the system trusts.
"""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
from pathlib import Path
from typing import Any

from kuttab.base import errors
from kuttab.wiring import access

AUTHORITY_DAYS = 3650
SERVER_DAYS = 397
RENEW_DAYS = 30
"""A server certificate that ends sooner is made anew at the next start."""


def server(folder: Path, host: str) -> tuple[ssl.SSLContext, bytes]:
    """The context to serve with, and the authority's certificate in PEM; BadInputError without the library."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority, authority_key = folder / "ca.crt", folder / "ca.key"
    certificate, key = folder / "server.crt", folder / "server.key"
    names = _names(host)
    try:
        if not (authority.exists() and authority_key.exists()):
            _write_pair(authority, authority_key, *_make_authority())
        if not _is_good(certificate, key, authority, names):
            _write_pair(certificate, key, *_make_server(authority, authority_key, names))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(certificate, key)
        return context, authority.read_bytes()
    except (OSError, ValueError) as error:
        raise errors.CorruptError(
            f"{folder}: the certificates cannot be used ({error}); remove the folder for new ones"
        ) from error


def _names(host: str) -> list[str]:
    """What the certificate is for: loopback, and the address given or, for all addresses, this machine's name."""
    extra = [socket.gethostname()] if host in ("0.0.0.0", "::", "") else [host]  # noqa: S104
    return list(dict.fromkeys(["localhost", "127.0.0.1", "::1", *extra]))


def _library() -> Any:
    try:
        from cryptography import x509
    except ImportError as error:
        raise errors.BadInputError("--tls needs the extra: pip install 'kuttab[tls]'") from error
    return x509


def _make_authority() -> tuple[bytes, bytes]:
    x509 = _library()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kuttab, this machine alone")])
    return _signed(name, name, None, None, AUTHORITY_DAYS, [])


def _make_server(authority: Path, authority_key: Path, names: list[str]) -> tuple[bytes, bytes]:
    x509 = _library()
    from cryptography.hazmat.primitives import serialization

    issuer = x509.load_pem_x509_certificate(authority.read_bytes())
    issuer_key = serialization.load_pem_private_key(authority_key.read_bytes(), None)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kuttab serve")])
    return _signed(subject, issuer.subject, issuer, issuer_key, SERVER_DAYS, names)


def _signed(
    subject: Any, issuer: Any, authority: Any, authority_key: Any, days: int, names: list[str]
) -> tuple[bytes, bytes]:
    """Certificate and key in PEM; self-signed without an authority."""
    x509 = _library()
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    signer = authority_key or key
    now = datetime.datetime.now(datetime.UTC)
    usage = {
        "digital_signature": authority is not None, "key_cert_sign": authority is None, "crl_sign": authority is None,
        "content_commitment": False, "key_encipherment": False, "data_encipherment": False, "key_agreement": False,
        "encipher_only": False, "decipher_only": False,
    }  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(authority is None, 0 if authority is None else None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if names:
        server_auth = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH])
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
        builder = builder.add_extension(server_auth, critical=False)
    made = builder.sign(signer, hashes.SHA256())
    key_text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM), key_text


def _general(name: str) -> Any:
    x509 = _library()
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _is_good(certificate: Path, key: Path, authority: Path, names: list[str]) -> bool:
    """Whether there is a server certificate of this authority, for these names, for some time to come."""
    if not (certificate.exists() and key.exists()):
        return False
    x509 = _library()
    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    issuer = x509.load_pem_x509_certificate(authority.read_bytes())
    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=RENEW_DAYS)
    if found.not_valid_after_utc < until or found.issuer != issuer.subject:
        return False
    try:
        found.verify_directly_issued_by(issuer)
    except Exception:
        return False
    known = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(known) == {_general(name) for name in names}


def _write_pair(certificate: Path, key: Path, certificate_text: bytes, key_text: bytes) -> None:
    access.write(key, key_text)
    access.write(certificate, certificate_text)
