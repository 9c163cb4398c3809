"""Certificates for trials: an authority and a signer made on the spot, in memory, and forgotten with the process.

What is signed with them is *valid* and never *trusted*, except by whoever is handed the trial's own authority.
They are for trying marks out, not for publishing: nothing here writes a key to a file.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from groundsynth.data.marks import Credential

DAYS = 30
USES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip


def make_trial_credential(who: str = "trial", purpose: bool = True) -> tuple[Credential, str]:
    """Return a credential that may sign manifests for thirty days, and its authority as PEM text, to trust it by.

    Args:
        who: common name of the signer; purpose: False leaves out the extended key usage, which C2PA refuses.
    """
    authority, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    top = _certificate(f"{who} authority", f"{who} authority", authority, authority, ("key_cert_sign",))
    below = _certificate(who, f"{who} authority", leaf, authority, ("digital_signature",), purpose)
    anchor, signer = (certificate.public_bytes(Encoding.PEM) for certificate in (top, below))
    key = leaf.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Credential(signer + anchor, key, "es256"), anchor.decode()


def _certificate(subject, issuer, own, signer, uses, purpose=False) -> x509.Certificate:
    start, is_authority = datetime.now(UTC) - timedelta(days=1), "key_cert_sign" in uses
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(is_authority, None), True)
        .add_extension(x509.KeyUsage(**{use: use in uses for use in USES}), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False)
    )
    if purpose:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
    return builder.sign(signer, hashes.SHA256())


def _name(common: str) -> x509.Name:
    parts = ((NameOID.ORGANIZATION_NAME, "groundsynth trial"), (NameOID.COMMON_NAME, common))
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in parts])
