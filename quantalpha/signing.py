"""Who sealed a bundle: an Ed25519 signature (RFC 8032) of its id, in `signature.json` beside the files that its manifest lists.

    QUANTALPHA_SIGNING_KEY    secret, 32 bytes as base64: what promotion signs with
    QUANTALPHA_TRUSTED_KEYS   public keys as base64, apart by commas: where any is set, nothing is loaded that none of them signed

Both come from the environment or `.env`, never from a bundle; `quantalpha keys` makes a pair. The only file that imports cryptography.
"""

import binascii
import json
from base64 import b64decode, b64encode
from pathlib import Path

from quantalpha.config import environment
from quantalpha.errors import DataError, UsageError
from quantalpha.files import read_json, write_atomic

FILE = "signature.json"
SECRET, TRUSTED = "QUANTALPHA_SIGNING_KEY", "QUANTALPHA_TRUSTED_KEYS"
KEY_BYTES, SIGNATURE_BYTES = 32, 64
CONTEXT = b"quantalpha bundle "  # so that the key's signature of anything else is none of a bundle


def new_key() -> str:
    """A fresh secret key as base64."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return _text(Ed25519PrivateKey.generate().private_bytes_raw())


def public_key(secret: str) -> str:
    """The public key of a secret one, both as base64. UsageError where it is none."""
    return _text(_private(secret).public_key().public_bytes_raw())


def sign(folder: Path, id: str) -> None:
    """Signs the bundle of this id into `folder`; does nothing without a signing key."""
    secret = environment().get(SECRET)
    if secret is not None:
        signature = {"public_key": public_key(secret), "signature": _text(_private(secret).sign(CONTEXT + id.encode()))}
        write_atomic(folder / FILE, json.dumps(signature, indent=1) + "\n")


def check(folder: Path, id: str, name: str) -> None:
    """DataError where a signature is malformed or, if keys are trusted, missing, of another key or of another bundle."""
    trusted, path = trusted_keys(), folder / FILE
    if not path.exists():
        if trusted:
            raise DataError(f"{name}: not signed, but {TRUSTED} is set; set {SECRET} and promote again")
        return
    found = read_json(path, "public_key", "signature")
    key, signature = (_bytes(found[part], size) for part, size in (("public_key", KEY_BYTES), ("signature", SIGNATURE_BYTES)))
    if key is None or signature is None:
        raise DataError(f"{name}: {FILE} is malformed; promote again")
    if trusted and key not in trusted:
        raise DataError(f"{name}: signed by key {found['public_key'][:8]}..., which is not in {TRUSTED}")
    if trusted and not _signed(key, signature, id):
        raise DataError(f"{name}: {FILE} is not of this bundle; promote again")


def trusted_keys() -> list[bytes]:
    """Of QUANTALPHA_TRUSTED_KEYS; UsageError where one is none."""
    keys = [_bytes(text, KEY_BYTES) for text in environment().get(TRUSTED, "").replace(",", " ").split()]
    if None in keys:
        raise UsageError(
            f"{TRUSTED}: key {keys.index(None) + 1} is not {KEY_BYTES} bytes as base64; `quantalpha keys` shows what one looks like"
        )
    return keys


def require_usable() -> None:
    """UsageError where what is signed here would be refused here: told before a gate runs, not after."""
    secret, trusted = environment().get(SECRET), trusted_keys()
    if secret is not None:
        public = public_key(secret)
    if trusted and (secret is None or b64decode(public) not in trusted):
        found = "is not set" if secret is None else "belongs to none of its keys"
        raise UsageError(f"{TRUSTED} is set, but {SECRET} {found}: nothing that is promoted here would be loaded here; set both")


def _private(secret: str):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    raw = _bytes(secret, KEY_BYTES)
    if raw is None:
        raise UsageError(f"{SECRET}: expected {KEY_BYTES} bytes as base64; `quantalpha keys` makes one")
    return Ed25519PrivateKey.from_private_bytes(raw)


def _signed(key: bytes, signature: bytes, id: str) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, CONTEXT + id.encode())
    except InvalidSignature:
        return False
    return True


def _bytes(text, size: int) -> bytes | None:
    """So many bytes from base64; None where it is anything else."""
    try:
        raw = b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error):
        return None
    return raw if len(raw) == size else None


def _text(raw: bytes) -> str:
    return b64encode(raw).decode()
