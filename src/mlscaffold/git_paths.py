"""Names that lead into git's own folder, whose hooks and settings git runs."""

from __future__ import annotations

import os
import re
from pathlib import Path

from mlscaffold.errors import MlscaffoldError

# The code points that HFS+ leaves out of names: git's own list, in next_hfs_char of its utf8.c.
_IGNORED_BY_HFS = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
# What NTFS opens for .git: any case, its short name, dots and blanks at the end, and any stream
# of it, such as .git::$INDEX_ALLOCATION. It is is_ntfs_dotgit in git's path.c.
_GIT = re.compile(r"(\.git|git~1)[. ]*(:.*)?", re.IGNORECASE | re.DOTALL | re.ASCII)
# The same of .gitmodules, which git reads as settings and so refuses as a link.
_GITMODULES = re.compile(
    r"(\.gitmodules|gitmod~[1-4]|gi7eba~[1-9])[. ]*(:.*)?", re.IGNORECASE | re.DOTALL | re.ASCII
)


def is_gits_own(path: str) -> bool:
    """Say whether git or a file system takes a part of path for `.git`."""
    return any(_GIT.fullmatch(part) for part in _parts(path))


def is_gitmodules(path: str) -> bool:
    """Say whether git or a file system takes a part of path for `.gitmodules`."""
    return any(_GITMODULES.fullmatch(part) for part in _parts(path))


def refuse_in_render(folder: Path, address: str) -> None:
    """Raise MlscaffoldError if a template rendered what git takes for a folder of its own.

    folder holds what was rendered, and address is the template's. No git may run there before.
    """
    for place, folders, names in os.walk(folder):
        for name in sorted((*folders, *names)):
            path = Path(place, name)
            is_link_to_settings = is_gitmodules(name) and path.is_symlink()
            if is_gits_own(name) or is_link_to_settings:
                shown = ascii(path.relative_to(folder).as_posix())
                raise MlscaffoldError(
                    f"The template {address} renders {shown}, through which git could be made to "
                    "run programs; git itself refuses it. Take it out of the template."
                )


def _parts(path: str) -> list[str]:
    return _IGNORED_BY_HFS.sub("", path).replace("\\", "/").split("/")
