"""What looks like a credential: no answer and no address may hold one, and none is ever printed."""

from __future__ import annotations

import re

_KINDS = {
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY",
    "a GitHub token": r"\b(gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,})",
    "a GitLab token": r"\bgl(pat|dt|rt|ptt|soat)-[A-Za-z0-9_-]{16,}",
    "an AWS key": r"\b(AKIA|ASIA)[A-Z0-9]{12,}",
    "a Slack token": r"\bxox[a-z]-[A-Za-z0-9-]{8,}",
    "a Google key": r"\bAIza[A-Za-z0-9_-]{30,}",
    "an API key": r"\b(sk-[\w-]{20,}|hf_[A-Za-z0-9]{20,}|dapi[0-9a-f]{32}|pypi-[\w-]{16,})",
    "a JSON web token": r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}",
    # user:secret@host; a secret that is read from the environment, ${NAME}, is none.
    "a password": r"://[^/\s@:]*:(?!\$\{\w+\}@)[^\s@]+@",
    "a secret": (
        r"(?i)(token|secret|passw(or)?d|pwd|api[-_]?key|access[-_]?key|credential|signature|\bsig)"
        r"[\"']?\s*[=:]\s*[\"']?(?!\$\{)[^\s&;,\"']{8,}"
    ),
}


def find(text: str) -> str | None:
    """What kind of credential text seems to hold, in words; None if it holds none."""
    return next((kind for kind, pattern in _KINDS.items() if re.search(pattern, text)), None)
