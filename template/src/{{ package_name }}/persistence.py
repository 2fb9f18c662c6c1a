"""Model files: skops, which runs no code on loading, with the list of trusted types in this repository."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from pathlib import Path
from typing import Any

import yaml

from .errors import ProjectError

TRUSTED = Path("deployment/trusted_types.yaml")
EPOCH = (1980, 1, 1, 0, 0, 0)


def dump(model: Any) -> bytes:
    """The fitted model as bytes that depend on the model alone.

    skops names objects by their addresses in memory and the zip format notes the time; both are replaced.
    """
    import skops.io

    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(model))) as source:
        members = {name: source.read(name) for name in source.namelist()}
    schema = members.pop("schema.json").decode("utf-8")
    numbers: dict[str, str] = {}
    for address in re.findall(r'"__id__": (\d+)', schema):
        numbers.setdefault(address, str(len(numbers)))
    schema = re.sub(r'("__id__": )(\d+)', lambda match: match[1] + numbers[match[2]], schema)
    schema = re.sub(
        r'("file": ")(\d+)',
        lambda match: match[1] + numbers.setdefault(match[2], str(len(numbers))),
        schema,
    )
    renamed = {
        re.sub(r"^\d+", lambda match: numbers[match[0]], name): members[name] for name in members
    }
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in sorted((renamed | {"schema.json": schema.encode("utf-8")}).items()):
            archive.writestr(zipfile.ZipInfo(name, EPOCH), content, zipfile.ZIP_DEFLATED, 1)
    return target.getvalue()


def load(path: Path, *, root: Path) -> Any:
    """The model in a file; ProjectError when it holds a type that this repository does not list."""
    import skops.io

    trusted = yaml.safe_load((root / TRUSTED).read_text(encoding="utf-8")) or []
    try:
        content = path.read_bytes()
        unknown = set(skops.io.get_untrusted_types(data=content)) - set(trusted)
        if unknown:
            raise ProjectError(
                f"{path} holds types that {TRUSTED} does not list: {', '.join(sorted(unknown))}. "
                "Read what they do before you add them."
            )
        return skops.io.loads(content, trusted=trusted)
    except FileNotFoundError:
        raise ProjectError(f"{path} is not there: type uv run dvc pull") from None
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ProjectError(f"{path} is not a skops model: {error}") from None


def md5(content: bytes) -> str:
    """The digest that DVC knows a file by."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
