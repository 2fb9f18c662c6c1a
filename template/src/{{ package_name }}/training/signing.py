"""Signed champions, where a project wants them: Ed25519 (RFC 8032) over model, its round's record and the code kept with it.

deployment/trusted_keys.pem holds the public keys that may sign; while it holds none, no signature is asked for. The
private key is in the environment, as PEM or its one line of base64 in CHAMPION_KEY, and nowhere else.
"""

import hashlib
import os
from base64 import b64decode, b64encode
from pathlib import Path
from re import DOTALL, findall, sub
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_public_key

from ..settings import COMMAND, ProjectError

KEYS = Path("deployment/trusted_keys.pem")
KEY = "CHAMPION_KEY"


def sign(root: Path, id_: str, record: str, model: bytes, code: Path) -> dict[str, str]:
    """What a pointer says of its signature: nothing where no keys are trusted. `record` is the digest of its round's."""
    if not (trusted := _trusted(root)):
        return {}
    try:
        key = load_der_private_key(b64decode(sub("-----.+?-----", "", os.environ.get(KEY, ""))), None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, Ed25519PrivateKey) or key.public_key() not in trusted:
        raise ProjectError(f"{KEYS} asks for signed champions: set {KEY} to the PEM of a private key that it knows.")
    return {"signature": b64encode(key.sign(_message(id_, record, model, code))).decode()}


def check(root: Path, pointer: dict[str, Any], model: bytes, code: Path) -> None:
    """ProjectError when keys are trusted and none of them signed this champion."""
    trusted = _trusted(root)
    message = _message(pointer["id"], pointer.get("record", ""), model, code)
    if trusted and not any(_is_by(key, pointer.get("signature"), message) for key in trusted):
        raise ProjectError(
            f"Champion {pointer['id']} is not signed by a key of {KEYS}, or model, record or code are not what was signed. "
            f"It is the right one, and {KEY} is set? Type {COMMAND} promote {pointer['id']}"
        )


def _message(id_: str, record: str, model: bytes, code: Path) -> bytes:
    parts = {"model": model} | {path.name: path.read_bytes() for path in sorted(code.glob("*.py"))}
    digests = [f"{name} {hashlib.sha256(part).hexdigest()}" for name, part in parts.items()]
    return "\n".join([id_, record, *digests]).encode()


def _is_by(key: Ed25519PublicKey, signature: Any, message: bytes) -> bool:
    try:
        key.verify(b64decode(signature or "", validate=True), message)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _trusted(root: Path) -> list[Ed25519PublicKey]:
    text = (root / KEYS).read_bytes() if (root / KEYS).is_file() else b""
    try:
        found = [load_pem_public_key(part) for part in findall(rb"-----BEGIN .+?-----END [A-Z ]+-----", text, DOTALL)]
    except ValueError as error:
        raise ProjectError(f"{KEYS} holds what is no public key: {error}") from None
    if other := [key for key in found if not isinstance(key, Ed25519PublicKey)]:
        raise ProjectError(f"{KEYS} holds {type(other[0]).__name__}: only Ed25519 keys can sign.")
    return found  # type: ignore[return-value]
