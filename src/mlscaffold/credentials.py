"""What looks like a credential: what is refused in an answer, and masked in all that is printed.

The tool and every project have this file, byte for byte the same, so that there is one rule.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import Any

HIDDEN = "***"
# How long a value has to be to be masked wherever it stands, and where it is a word of its own.
# A shorter one would take half of every message with it: it is masked by its shape alone.
_LONG, _SHORT = 8, 4
_MIXED = re.compile(r"(?=.*\d)(?=.*[a-z])", re.IGNORECASE | re.DOTALL)
_REFERENCE = re.compile(r"\$\{(\w+)\}")
_NAMES = (
    r"[\w.-]*(?:token|secret|passw(?:or)?d|passphrase|pwd|signature|credential|accesskeyid"
    r"|(?:api|access|account|auth|private|shared|subscription|storage)[-_]?key)s?"
)
Shapes = dict[str, tuple[str, str]]
# Each kind of credential by its shape, whose group `secret` nobody may see. Before it stand words
# of which such a text has one: most have none, which is found out in a hundredth of the time.
_SHAPES: Shapes = {
    "a private key": (
        "-----begin",
        r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-*(?P<secret>.*?)(?:-----END [A-Z ]*PRIVATE KEY|\Z)",
    ),
    "a GitHub token": (
        "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_",
        r"\b(?P<secret>gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,})",
    ),
    "a GitLab token": (
        "glpat- gldt- glrt- glptt- glsoat- glcbt-",
        r"\b(?P<secret>gl(?:pat|dt|rt|ptt|soat|cbt)-[A-Za-z0-9_-]{16,})",
    ),
    "an AWS key": ("akia asia", r"\b(?P<secret>(?:AKIA|ASIA)[A-Z0-9]{12,})"),
    "a Slack token": ("xox", r"\b(?P<secret>xox[a-z]-[A-Za-z0-9-]{8,})"),
    "a Google key": ("aiza", r"\b(?P<secret>AIza[A-Za-z0-9_-]{30,})"),
    "an API key": (
        "sk- hf_ dapi pypi- npm_",
        r"\b(?P<secret>sk-[\w-]{20,}|hf_[A-Za-z0-9]{20,}|dapi[0-9a-f]{32}|pypi-[\w-]{16,}"
        r"|npm_[A-Za-z0-9]{30,})",
    ),
    "a JSON web token": (
        ".eyj",
        r"\b(?P<secret>eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}[\w.-]*)",
    ),
    # user:secret@host. A secret may hold blanks, "/" and "@"; what begins like a port is none.
    "a password": (
        "://",
        r"""(?x)
        ://(?![A-Za-z]:[/\\])[^\s/:@?\#\[\]"']*:
        (?!(?:\d{1,5}|\$\{\w+\})(?:[/?\#\s"'),;\]]|$))
        (?P<secret>
            (?:\$\{\w+\})+(?=@)
            | (?:(?!://|:\s)[^\n"'])+(?=@)
            | (?:(?!://)\S)+(?=@)
        )@""",
    ),
    "a token in an address": (
        "? & ; #",
        rf"(?i)[?&;\#](?:amp;)?(?:{_NAMES}|pass|pw|sig|sas|jwt)=(?P<secret>[^\s&;\#\"'<>]+)"
        r"|[?&;](?:amp;)?(?:key|auth|code)=(?P<likely>[^\s&;\#\"'<>]{8,})",
    ),
    # A user of HTTP alone is a name (https://org@dev.azure.com), unless it looks like chance.
    "a token as user": (
        "http",
        r"(?i)\bhttps?://(?P<secret>(?=[^\s/@]*\d)(?=[^\s/@]*[a-z])[^\s/:@?\#\"']{16,})"
        r"@(?![\w.-]*sentry)",  # whose addresses are no secret
    ),
    "a secret": (
        "token secret passw pwd key credential sig",
        r"(?i)(?:token|secret|passw(?:or)?d|pwd|(?:api|access|account)[-_]?key|credential|signature"
        r"|\bsig)[\"']?(?:\s*[=:]\s*|%3D)[\"']?(?!\$\{)(?P<secret>[^\s&;,\"']{8,})",
    ),
}
# What is no reason to refuse an answer, but need not be printed either.
_MASKED_TOO: Shapes = {
    "a user": ("http", r"(?i)\bhttps?://(?P<secret>[^\s/:@?\#\"']+(?::\*\*\*)?)@"),
    "a header that logs in": (
        "authorization token x-",
        r"(?i)\b(?:authorization|private-token|x-[\w-]*(?:token|key))[\"']?\s*[:=]\s*[\"']?"
        r"(?:(?:basic|bearer|negotiate|token)\s+)?(?!\$\{)(?P<secret>[^\s\"',;]{4,})",
    ),
    "a login": (
        "basic bearer",
        r"(?i)\b(?:basic|bearer)\s+(?=[^\s\"']*[\d=])(?P<secret>[\w.~+/=-]{8,})",
    ),
}
# Variables whose values are masked where they look like chance: TOKEN, DB_PASSWORD, CHAMPION_KEY.
_WORDS = "TOKEN|SECRET|PASSWORD|PASSWD|KEY|KEY_ID|CREDENTIALS?|CONNECTION_STRING"
_VARIABLE = re.compile(rf"(?i)(?:{_WORDS})$")
_LEAST_CHANCE = 12

# What was put in the place of ${NAME} so far, in each form that it may be printed in.
_labels: dict[str, str] = {}


def find(text: str) -> str | None:
    """Return what kind of credential text seems to hold, in words; None if it holds none.

    A secret that is read from the environment, ${NAME}, is none.
    """
    for kind, shape in _shapes_for(text, _SHAPES):
        if any(not _is_reference(_secret(match)) for match in shape.finditer(text)):
            return kind
    return None


def expand(address: str, environment: Mapping[str, str] | None = None) -> str:
    """Return the address with the value of each ${NAME}, which `mask` hides from then on.

    What the address holds itself by way of passwords and tokens is hidden as well. Raises KeyError
    for a variable that is not set.
    """
    variables = os.environ if environment is None else environment

    def look_up(match: re.Match[str]) -> str:
        value = variables[match[1]]
        before, after = address[: match.start()], address[match.end() :]
        remember(value, match[0], in_parts=before.endswith((":", "=")) or after.startswith("@"))
        return value

    expanded = _REFERENCE.sub(look_up, address)
    _remember_parts(expanded)
    return expanded


def remember_settings(settings: Mapping[str, Any]) -> None:
    """Have `mask` hide the settings of a library that are called like secrets, or hold one."""
    for name, value in settings.items():
        if isinstance(value, str) and _VARIABLE.search(name):
            remember(value)
        elif isinstance(value, str):
            _remember_parts(value)


def remember(value: str, label: str = HIDDEN, *, in_parts: bool = False) -> None:
    """Have `mask` put label in the place of a value, however it is quoted.

    in_parts: also of what lies between the signs at which a library cuts an address
    """
    values = [value]
    if in_parts:
        values += re.split(r"[\s@/:?#&=;,%]+", value)
    for part in values:
        for form in _forms(part):
            if len(form) >= _LONG or (len(form) >= _SHORT and not form.isdigit()):
                _labels.setdefault(form.lower(), label)


def mask(text: str) -> str:
    """Return the text without the values that were remembered, and without what looks secret."""
    labels = {**_labels, **_in_environment()}
    if labels:
        pattern = _any_of(tuple(labels))
        text = pattern.sub(lambda match: labels.get(match[0].lower(), HIDDEN), text)
    for _, shape in _shapes_for(text, {**_SHAPES, **_MASKED_TOO}):
        text = shape.sub(_hide, text)
    return text


def mask_all(value: Any) -> Any:
    """Return a value as JSON has it, with every text in it masked; its keys stay."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        return {key: mask_all(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [mask_all(part) for part in value]
    return value


class _MaskedStream:
    """A stream of text that masks what is written; in all else it is the stream below."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(mask(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def guard_stderr() -> None:
    """Mask all that this process writes to stderr: tracebacks, warnings and logs of libraries."""
    if sys.stderr is not None and not isinstance(sys.stderr, _MaskedStream):
        sys.stderr = _MaskedStream(sys.stderr)


def _remember_parts(address: str) -> None:
    """Remember the passwords and tokens that stand in an address."""
    for kind in ("a password", "a token in an address", "a token as user"):
        for match in _compiled(_SHAPES[kind][1]).finditer(address):
            remember(_secret(match), in_parts=True)


def _secret(match: re.Match[str]) -> str:
    return next(text for text in match.groupdict().values() if text is not None)


def _is_reference(secret: str) -> bool:
    """Tell whether a secret is made of ${NAME} only; "%3D" and the like may stand between."""
    return bool(re.fullmatch(r"(?:\$\{\w+\}|%[0-9A-Fa-f]{2})+", secret))


def _hide(match: re.Match[str]) -> str:
    secret = _secret(match)
    if _is_reference(secret):
        return match[0]
    start = match[0].rindex(secret)
    return match[0][:start] + HIDDEN + match[0][start + len(secret) :]


def _shapes_for(text: str, shapes: Shapes) -> Iterator[tuple[str, re.Pattern[str]]]:
    """Yield the kinds and shapes of which text has one of the words."""
    lowered = text.lower()
    for kind, (words, pattern) in shapes.items():
        if any(word in lowered for word in words.split()):
            yield kind, _compiled(pattern)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


@lru_cache(maxsize=8)
def _any_of(forms: tuple[str, ...]) -> re.Pattern[str]:
    """Return the pattern of all values, the longest first; short words on their own."""
    parts = []
    for form in sorted(forms, key=len, reverse=True):
        pattern = re.escape(form)
        is_word = len(form) < _LONG and not _MIXED.match(form)
        parts.append(rf"(?<!\w){pattern}(?!\w)" if is_word else pattern)
    return re.compile("|".join(parts), re.IGNORECASE)


@cache
def _in_environment() -> dict[str, str]:
    """Return the values of variables that are called like secrets and look like chance.

    They are looked for once: a server masks each line of its log.
    """
    return {
        value.lower(): "${" + name + "}"
        for name, value in os.environ.items()
        if _VARIABLE.search(name) and len(value) >= _LEAST_CHANCE and _MIXED.match(value)
    }


def _forms(value: str) -> Iterator[str]:
    """Yield a value as it is and as addresses, JSON, Python, HTML and base64 have it."""
    from base64 import b64encode, urlsafe_b64encode
    from json import dumps
    from urllib.parse import quote, quote_plus, unquote, unquote_plus

    plain = (value, unquote(value), unquote_plus(value))
    yield from plain
    for text in plain:
        yield from (quote(text), quote(text, safe=""), quote_plus(text))
    yield from (dumps(value)[1:-1], dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1])
    signs = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&#39;", '"': "&#34;"}
    yield "".join(signs.get(sign, sign) for sign in value)
    data = value.encode("utf-8", "surrogatepass")
    yield from (b64encode(data).decode(), urlsafe_b64encode(data).decode())
    if "\n" in value:
        yield from value.split("\n")
