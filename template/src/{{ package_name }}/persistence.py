"""Files written whole, and model files: skops, which runs no code on loading.

The types that may be loaded are listed in this repository, never taken from the model's own file. Those that are defined
here, in the modules that people edit, are loaded from the copies that were kept when the model was fitted.
"""

import hashlib
import io
import re
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import yaml

from .settings import COMMAND, ProjectError

TRUSTED = Path("deployment/trusted_types.yaml")
EPOCH = (1980, 1, 1, 0, 0, 0)
EDITED = ("features.py", "forecast.py", "model.py")  # what a person edits and a model's own types may come from


def write(path: Path, content: str | bytes) -> None:
    """Makes the file, and its folder; whoever reads it sees all of the old content or all of the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    try:
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def md5(content: bytes) -> str:
    """The digest that DVC knows a file by."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def dump(model: Any) -> bytes:
    """The fitted model as bytes that depend on the model alone.

    skops names objects by their addresses in memory and the zip format notes the time; both are replaced.
    """
    import skops.io

    with zipfile.ZipFile(io.BytesIO(skops.io.dumps(model))) as source:
        members = {name: source.read(name) for name in source.namelist()}
    schema = members.pop("schema.json").decode("utf-8")
    numbers: dict[str, str] = {}

    def number(match: re.Match[str]) -> str:
        return match[1] + numbers.setdefault(match[2], str(len(numbers)))

    for key in ('"__id__": ', '"file": "'):
        schema = re.sub(rf"({key})(\d+)", number, schema)
    members = {re.sub(r"^()(\d+)", number, name): content for name, content in members.items()}
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in sorted((members | {"schema.json": schema.encode("utf-8")}).items()):
            archive.writestr(zipfile.ZipInfo(name, EPOCH), content, zipfile.ZIP_DEFLATED, 1)
    return target.getvalue()


def keep_code(folder: Path) -> None:
    """Copies the modules that people edit beside a model, as they are while it is fitted."""
    for path in map(Path(__file__).with_name, EDITED):
        if path.exists():  # only a forecast has forecast.py
            write(folder / path.name, path.read_bytes())


@contextmanager
def code_of(folder: Path) -> Iterator[None]:
    """The copies in a folder, if it is there, stand in for the package's own modules.

    So an edit of features.py since then neither changes nor breaks the model that is loaded meanwhile.
    """
    copies = {f"{__package__}.{path.stem}": path for path in sorted(folder.glob("*.py"))}
    ours = {name: sys.modules.pop(name, None) for name in copies}
    try:
        for name, path in copies.items():
            spec = spec_from_file_location(name, path)
            assert spec and spec.loader
            sys.modules[name] = module = module_from_spec(spec)
            spec.loader.exec_module(module)
        yield
    finally:
        for name, module_ in ours.items():
            sys.modules.pop(name, None)
            if module_:
                sys.modules[name] = module_


def trusted_types(content: bytes, root: Path, name: str) -> list[str]:
    """The types that this repository lists; ProjectError when a model's bytes hold another."""
    import skops.io

    try:
        trusted = yaml.safe_load((root / TRUSTED).read_text(encoding="utf-8")) or []
    except (FileNotFoundError, yaml.YAMLError):
        raise ProjectError(f"{TRUSTED} cannot be read: restore it with git.") from None
    unknown = set(skops.io.get_untrusted_types(data=content)) - set(trusted)  # noqa: TID251
    if unknown:
        what = f"{name} holds types that {TRUSTED} does not list: {', '.join(sorted(unknown))}"
        raise ProjectError(f"{what}. Read what they do before you add them.")
    return list(trusted)


def load(path: Path, *, root: Path, code: Path) -> Any:
    """The model in a file, its own types from the folder `code`.

    ProjectError when it holds a type that this repository does not list.
    """
    import skops.io

    try:
        content = path.read_bytes()
        trusted = trusted_types(content, root, str(path))
        with code_of(code):
            return skops.io.loads(content, trusted=trusted)  # noqa: TID251
    except FileNotFoundError as error:
        raise ProjectError(f"{error.filename} is not there: type {COMMAND} restore") from None
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ProjectError(f"{path} is not a skops model: {error}") from None
