"""Marks of provenance in a picture's bytes: the IPTC digital source type, and a signed C2PA manifest.

Two marks, because each has readers of its own. The IPTC source type is one line of XMP that any reader of
metadata finds; anybody can write it, and anybody can take it away. A C2PA manifest (specification 2.x,
https://spec.c2pa.org) holds the same type in its action ``c2pa.created``, is bound to the file by a hash and
signed, so that a change is found; it can be taken away, too, but not moved to another file.

Everything here works on bytes in memory, PNG or TIFF. A manifest inside a GeoTIFF leaves its georeferencing and
pixels as they were.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from PIL import Image

from groundsynth import __version__
from groundsynth.errors import GroundsynthError

SYNTHETIC = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
SAMPLE = "org.groundsynth.sample"  # our assertion: which sample this is
MIME = {".png": "image/png", ".tif": "image/tiff"}
UNSIGNED = "no: no certificate was configured"
_NAMESPACE = "urn:groundsynth:marks:1"
_HEAD = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
_QUIET = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}


def xmp_packet(sample: dict[str, str], signed: bool) -> str:
    """Return an XMP packet that says *made by a trained algorithm*, which sample it is, and if it is signed.

    Args:
        sample: names to values, such as chip_id, generator, model_hash, seed.
    """
    about = {**sample, "signed": "yes: by a C2PA manifest" if signed else UNSIGNED}
    own = " ".join(f"gs:{name}={quoteattr(str(value))}" for name, value in about.items())
    return (
        f'{_HEAD}<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        f'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:gs="{_NAMESPACE}" '
        f'Iptc4xmpExt:DigitalSourceType="{SYNTHETIC}" xmp:CreatorTool="groundsynth {__version__}" {own}/>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )


def read_xmp(data: bytes) -> dict[str, Any]:
    """Return the XMP properties of a picture, by name without prefix; empty if it has none or is unreadable."""
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data)) as picture:
            warnings.simplefilter("ignore")
            return _flatten(picture.getxmp())
    except Exception:  # a damaged file has no readable mark
        return {}


def _flatten(node: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in node if isinstance(node, list) else [node]:
        for name, value in part.items() if isinstance(part, dict) else ():
            found |= _flatten(value) if isinstance(value, dict | list) else {name: value}
    return found


def source_type(data: bytes) -> str:
    """Return a picture's IPTC digital source type, or an empty text."""
    return str(read_xmp(data).get("DigitalSourceType", ""))


def content_hash(data: bytes) -> str:
    """Return the SHA-256 of a file's bytes, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def pixel_hash(pixels: np.ndarray) -> str:
    """Return the SHA-256 of an image's shape and pixels, 64 hex digits: the same in every file format."""
    pixels = np.ascontiguousarray(pixels, np.uint8)
    return hashlib.sha256(str(pixels.shape).encode() + pixels.tobytes()).hexdigest()


@dataclass(frozen=True)
class Credential:
    """A certificate chain (leaf first) and the leaf's private key, as PEM bytes.

    The C2PA specification wants a leaf that is no authority, may sign, and names a purpose such as e-mail
    protection; it has to come with the certificates up to, not necessarily including, a trust anchor.
    """

    chain: bytes
    key: bytes = field(repr=False)
    algorithm: str


def load_credential(certificate: Path, key: Path) -> Credential:
    """Read and check a certificate chain and its key.

    Raises:
        GroundsynthError: a missing or unreadable file, an unsupported key, or a key of another certificate.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    for path in (certificate, key):
        if not Path(path).is_file():
            raise GroundsynthError(
                f"{path}: no such file; export.certificate and export.key name PEM files, or leave both out"
            )
    chain, secret = Path(certificate).read_bytes(), Path(key).read_bytes()
    try:
        leaf, private = x509.load_pem_x509_certificates(chain)[0], load_pem_private_key(secret, None)
    except (ValueError, TypeError) as error:
        raise GroundsynthError(
            f"{certificate}, {key}: not a PEM certificate chain with its unencrypted key ({error}); convert them"
        ) from None
    if isinstance(private, ed25519.Ed25519PrivateKey):
        algorithm = "ed25519"
    elif isinstance(private, ec.EllipticCurvePrivateKey) and private.key_size in (256, 384):
        algorithm = f"es{private.key_size}"
    else:
        raise GroundsynthError(
            f"{key}: a key of this kind signs no manifest here; use P-256, P-384 or Ed25519"
        )
    if leaf.public_key() != private.public_key():
        raise GroundsynthError(
            f"{key}: is not the key of the first certificate in {certificate}; put that certificate first"
        )
    return Credential(chain, secret, algorithm)


class Signing:
    """Signs pictures with one credential."""

    def __init__(self, credential: Credential) -> None:
        import c2pa

        self._c2pa, self.credential = c2pa, credential
        info = c2pa.C2paSignerInfo(credential.algorithm, credential.chain, credential.key, None)
        self._signer, self._context = c2pa.Signer.from_info(info), c2pa.Context.from_dict(_QUIET)

    def sign(self, data: bytes, mime: str, sample: dict[str, str]) -> bytes:
        """Return a picture's bytes with a signed manifest inside.

        Args:
            data: PNG or TIFF; mime: ``image/png`` or ``image/tiff``.
            sample: what the manifest says of the sample; ``chip_id`` is its title.

        Raises:
            GroundsynthError: a certificate that the C2PA rules refuse.
        """
        created = {"action": "c2pa.created", "digitalSourceType": SYNTHETIC,
                   "softwareAgent": {"name": "groundsynth", "version": __version__}}  # fmt: skip
        manifest = {
            "claim_generator_info": [{"name": "groundsynth", "version": __version__}],
            "title": sample["chip_id"],
            "format": mime,
            "assertions": [
                {"label": "c2pa.actions.v2", "data": {"actions": [created]}},
                {"label": SAMPLE, "data": sample},
            ],
        }
        out = io.BytesIO()
        try:
            self._c2pa.Builder(manifest, self._context).sign(self._signer, mime, io.BytesIO(data), out)
        except self._c2pa.C2paError as error:
            raise GroundsynthError(
                f"the certificate cannot sign a C2PA manifest ({error}); it needs the chain, a leaf with digital "
                "signature and e-mail protection among its uses, and dates that hold today"
            ) from None
        return out.getvalue()


@dataclass(frozen=True)
class Manifest:
    """What a picture's C2PA manifest says and whether it holds.

    Attributes:
        state: ``Trusted`` (valid, and signed under a given anchor), ``Valid``, or ``Invalid``.
        failures: codes of the checks that failed; an unknown signer alone leaves it ``Valid``.
        sample: our assertion; empty for a foreign manifest.
        source_type: of the action ``c2pa.created``.
    """

    state: str
    failures: tuple[str, ...]
    sample: dict[str, str]
    source_type: str


def read_manifest(data: bytes, mime: str, anchors: str | None = None) -> Manifest | None:
    """Return a picture's manifest, or None where there is none.

    Args:
        anchors: PEM certificates that are trusted.
    """
    import c2pa

    try:
        with c2pa.Reader(mime, io.BytesIO(data), context=_reading(anchors)) as reader:
            state = reader.get_validation_state() or "Invalid"
            results = (reader.get_validation_results() or {}).get("activeManifest", {})
            active = reader.get_active_manifest() or {}
    except c2pa.C2paError.ManifestNotFound:
        return None
    except c2pa.C2paError as error:
        return Manifest("Invalid", (str(error).partition(":")[0],), {}, "")
    assertions = {item["label"]: item.get("data", {}) for item in active.get("assertions", ())}
    actions = assertions.get("c2pa.actions.v2", {}).get("actions", ())
    made = [a.get("digitalSourceType", "") for a in actions if a.get("action") == "c2pa.created"]
    failures = tuple(sorted({item["code"] for item in results.get("failure", ())}))
    return Manifest(state, failures, assertions.get(SAMPLE, {}), made[0] if made else "")


@functools.cache
def _reading(anchors: str | None) -> Any:
    """Return what c2pa reads with: no network, and these anchors, if any."""
    import c2pa

    trust = {"trust": {"trust_anchors": anchors}} if anchors else {}
    verify = _QUIET["verify"] | {"verify_trust": bool(anchors)}
    return c2pa.Context.from_dict(_QUIET | {"verify": verify} | trust)


def sign_text(data: bytes, credential: Credential) -> str:
    """Return a signature of any bytes by the credential's key, base64 text."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    private = load_pem_private_key(credential.key, None)
    how = (ec.ECDSA(hashes.SHA256()),) if isinstance(private, ec.EllipticCurvePrivateKey) else ()
    return base64.b64encode(private.sign(data, *how)).decode()


def text_is_signed(data: bytes, signature: str, chain: bytes, anchors: str | None = None) -> bool:
    """Return whether the first certificate's key signed these bytes, and an anchor issued the chain, if asked.

    Args:
        chain: PEM, leaf first; anchors: PEM certificates that are trusted, or None to trust any.
    """
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        certificates = x509.load_pem_x509_certificates(chain)
        public = certificates[0].public_key()
        how = (ec.ECDSA(hashes.SHA256()),) if isinstance(public, ec.EllipticCurvePublicKey) else ()
        public.verify(base64.b64decode(signature, validate=True), data, *how)
    except (ValueError, InvalidSignature):
        return False
    if not anchors:
        return True
    trusted = x509.load_pem_x509_certificates(anchors.encode())
    return any(_reaches(certificates, anchor) for anchor in trusted)


def _reaches(chain: list, anchor: Any) -> bool:
    """Return whether each certificate is issued by the next, up to the anchor."""
    for below, above in zip(chain, [*chain[1:], anchor], strict=True):
        if below == anchor or _issued(below, anchor):
            return True
        if not _issued(below, above):
            return False
    return False


def _issued(below: Any, above: Any) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        below.verify_directly_issued_by(above)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
