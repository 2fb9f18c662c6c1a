"""Copier: reads a template's questions, asks them and renders. Only worker.py imports it too."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import copier
import jinja2
import plumbum
import yaml
from copier import _settings, _template, errors

from mlscaffold import git, store, yaml_text
from mlscaffold.config import Config
from mlscaffold.errors import MlscaffoldError, is_raised_by_us, unknown
from mlscaffold.releases import version_of
from mlscaffold.worker import FastWorker, can_render_fast, refuse_endless_links

# Errors that say of themselves what a template or an answer got wrong.
_TELLING_ERRORS = (
    errors.CopierError,
    jinja2.TemplateError,
    plumbum.ProcessExecutionError,
    yaml.YAMLError,
)
# What Copier warns of is for the template's author, and its lines name files of this machine.
warnings.simplefilter("ignore", errors.CopierWarning)

_CONFIGS: dict[bytes, dict[str, Any]] = {}
AnyWorker = TypeVar("AnyWorker", bound=FastWorker)


@dataclass(frozen=True)
class Template:
    """A checkout's questions, and what of it would run code of its own.

    raw: its whole copier.yml, so that it is read once
    is_trusted: whether the user trusts it, so that it may run code
    """

    checkout: store.Checkout
    questions: Mapping[str, Mapping[str, Any]]
    unsafe: tuple[str, ...]
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    is_trusted: bool = field(default=False, compare=False)

    @property
    def may_build(self) -> bool:
        """Whether programs of its projects may run: a build, an environment, a first round."""
        return self.is_trusted or store.is_builtin(self.checkout.address)

    @property
    def has_tasks(self) -> bool:
        return "tasks" in self.unsafe


@dataclass(frozen=True)
class Rendering:
    """Every answer by question, and what the template says to people after a copy."""

    answers: Mapping[str, Any]
    message: str


def trusts(settings: Config, address: str) -> bool:
    """Say whether the user's settings trust the template at address: ours, or Copier's own.

    Both are read by Copier's rule: an entry is an address, or ends in "/" and stands for all that
    begin with it, once "." and ".." are resolved.
    """
    with plain_errors(address):
        trust = [*settings.trust, *_trust_in_copiers_settings()]
        return _settings.is_trusted_repository(trust, address)


def _trust_in_copiers_settings() -> tuple[str, ...]:
    try:
        return tuple(copier.load_settings().trust)
    except errors.SettingsError as error:
        reason = " ".join(str(error).split())
        raise MlscaffoldError(f"Copier's own settings.yml cannot be read: {reason}.") from None


def read(checkout: store.Checkout) -> Template:
    """The template in a checkout. Raises MlscaffoldError when its copier.yml is broken."""
    _refuse_links_to_elsewhere(checkout)
    with plain_errors(checkout.address):
        _refuse_bombs(checkout)
        source = _known(_template.Template(url=checkout.address), checkout)
        if raw := _raw_config(checkout.folder):
            vars(source)["_raw_config"] = raw
        config, questions = source.config_data, source.questions_data
        features = ("jinja_extensions", "migrations", "tasks")
        unsafe = tuple(name for name in features if config.get(name))
        return Template(checkout, questions, unsafe, deepcopy(source._raw_config))


def _refuse_links_to_elsewhere(checkout: store.Checkout) -> None:
    """Raise for questions that are a link out of the template: they would be a file of the user.

    Copier itself looks after the links among the files that are rendered, or included.
    """
    for name in ("copier.yml", "copier.yaml"):
        path = (checkout.folder / name).resolve()
        if not path.is_relative_to(checkout.folder.resolve()):
            raise MlscaffoldError(
                f"The template {checkout.address}: {name} is a link that leaves the template."
            )


def _refuse_bombs(checkout: store.Checkout) -> None:
    """Raise for questions whose aliases or included files stand for far too much."""

    def included(pattern: str) -> Iterator[bytes]:
        if Path(pattern).is_absolute():  # which Copier refuses
            return
        for path in checkout.folder.glob(pattern):
            if path.resolve().is_relative_to(checkout.folder.resolve()):
                yield path.read_bytes()

    for name in ("copier.yml", "copier.yaml"):
        path = checkout.folder / name
        if not path.is_file():
            continue
        try:
            yaml_text.check_size(path.read_bytes(), included)
        except MlscaffoldError as error:
            raise MlscaffoldError(
                f"The template {checkout.address}: {name} {error.message}"
            ) from None


def _raw_config(folder: Path) -> dict[str, Any] | None:
    """The copier.yml of a version, read once for all that have the same; None for an odd one."""
    places = [place for name in ("copier.yml", "copier.yaml") if (place := folder / name).is_file()]
    if len(places) != 1:
        return None
    data = places[0].read_bytes()
    if b"!include" in data:  # then it is not the only file
        return None
    if data not in _CONFIGS:
        _CONFIGS[data] = _template.load_template_config(places[0])
    return deepcopy(_CONFIGS[data])


def check_questions(template: Template, answers: Mapping[str, Any]) -> None:
    """Raises for an answer to a question that the template does not ask."""
    for name in answers:
        if name not in template.questions:
            raise unknown("question", name, template.questions)


def check_trust(template: Template, *, trusted: bool) -> None:
    """Raises for a template that would run code of its own, unless it is trusted."""
    if template.unsafe and not trusted:
        parts = ", ".join(template.unsafe).replace("_", " ")
        raise MlscaffoldError(
            f"The template {template.checkout.address} runs code of its own ({parts}). "
            "Read it, and if you trust it, add --trust."
        )


def unanswered(template: Template, name: str, answers: Mapping[str, Any]) -> dict[str, str]:
    """The questions that a project called name would still be asked, with their help."""
    with plain_errors(template.checkout.address):
        return _worker(template, Path(name), answers, ask=False).unanswered()


def render(
    template: Template, destination: Path, answers: Mapping[str, Any], *, ask: bool
) -> Rendering:
    """Renders into destination, without tasks.

    What answers does not hold is asked on the terminal, or else takes the question's default.
    Raises MlscaffoldError for an answer that the template refuses and for errors in the template.
    """
    with plain_errors(template.checkout.address):
        if can_render_fast():
            worker = _worker(template, destination, answers, ask=ask)
            # Copier asks git for the files' modes, which would start the user's core.fsmonitor.
            with plumbum.local.env(**git.with_settings(git.NO_PROGRAMS.items())):
                worker.run_copy()
            message = worker.message_after("copy")
        else:
            worker, message = render_plainly(template, destination, answers, ask=ask), ""
        found, hidden = worker.answers.combined, worker.answers.hidden
        known = (name for name in template.questions if name in found and name not in hidden)
        return Rendering({name: found[name] for name in known}, message)


def run_tasks(template: Template, destination: Path, answers: Mapping[str, Any]) -> None:
    """Runs a trusted template's tasks in the project, with Copier's variables."""
    with plain_errors(template.checkout.address):
        render_plainly(template, destination, answers, skip_tasks=False)


def render_plainly(
    template: Template,
    destination: Path,
    answers: Mapping[str, Any],
    *,
    ask: bool = False,
    skip_tasks: bool = True,
) -> Any:
    """Copier's own copy, which takes the recorded address from the store; returns its worker."""
    checkout = template.checkout
    # A task may well set up hooks or filters, and whoever trusts it wants that.
    settings = () if template.is_trusted else (*git.NO_PROGRAMS.items(), *_no_filters(checkout))
    if not template.raw.get("_preserve_symlinks"):
        refuse_endless_links(checkout.folder, checkout.folder.resolve())
    with plumbum.local.env(**store.redirection(checkout, settings)):
        return copier.run_copy(
            checkout.address,
            destination,
            data=dict(answers),
            vcs_ref=checkout.commit,
            exclude=[".git"],
            settings=copier.Settings(),
            defaults=not ask,
            overwrite=True,
            quiet=True,
            unsafe=template.is_trusted,
            skip_tasks=skip_tasks,
        )


def _no_filters(checkout: store.Checkout) -> list[tuple[str, str]]:
    return git.no_filters(checkout.mirror) if checkout.mirror else []


def _worker(
    template: Template, destination: Path, answers: Mapping[str, Any], *, ask: bool
) -> FastWorker:
    # Copier's "unsafe" lets Jinja extensions load, which check_trust has refused by now, and
    # _external_data name any file of the user. It was on for every template, for the sake of those
    # whose extensions are trusted, and so a template could read the user's keys.
    return worker(
        FastWorker,
        template,
        destination,
        data=dict(answers),
        defaults=not ask,
        overwrite=True,
        unsafe=template.is_trusted,
    )


def worker(
    kind: type[AnyWorker], template: Template, destination: Path, **settings: Any
) -> AnyWorker:
    """A worker of that kind that takes the template from its checkout and runs no tasks."""
    checkout = template.checkout
    with plain_errors(checkout.address):
        made = kind(
            src_path=checkout.address,
            dst_path=destination,
            vcs_ref=checkout.commit,
            settings=_settings.SettingsModel(),
            quiet=True,
            skip_tasks=True,
            **settings,
        )
        source = _known(made.template, checkout)
        if template.raw:
            vars(source)["_raw_config"] = deepcopy(dict(template.raw))
        for details in source.questions_data.values():
            details.setdefault("qmark", "?")
        return made


def _known(source: _template.Template, checkout: store.Checkout) -> _template.Template:
    """Copier's template, told what it would otherwise ask git for."""
    vars(source).update(
        local_abspath=checkout.folder.resolve(),
        vcs="git" if checkout.commit else None,
        commit=checkout.version,
        commit_hash=checkout.commit,
    )
    if checkout.version and (version := version_of(checkout.version)):
        vars(source)["version"] = version
    return source


@contextlib.contextmanager
def plain_errors(address: str) -> Iterator[None]:
    """Turn what a template or an answer got wrong into one line; silence Copier's own lines.

    Whatever a template makes Copier or Jinja raise is the template's. What our own code raises is
    a bug of ours and goes on as it is.
    """
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.CopierWarning)
        try:
            yield
        except KeyboardInterrupt:
            raise KeyboardInterrupt from None
        except MlscaffoldError:
            raise
        except OSError as error:
            raise MlscaffoldError(
                f"{error.strerror or error}: {error.filename or address}."
            ) from None
        except _TELLING_ERRORS as error:
            raise MlscaffoldError(f"The template {address}: {_reason(error)}") from None
        except Exception as error:  # Copier and Jinja let through what a template makes them raise
            if is_raised_by_us(error):
                raise
            if type(error) is ValueError:  # Copier's way to refuse an answer
                raise MlscaffoldError(_reason(error)) from None
            reason = _reason(error) or "no reason is given"
            raise MlscaffoldError(
                f"The template {address}: {reason} ({type(error).__name__})."
            ) from None


def _reason(error: BaseException) -> str:
    cause = error.__cause__ if isinstance(error, errors.InvalidConfigFileError) else None
    where = f"line {error.lineno}: " if isinstance(error, jinja2.TemplateSyntaxError) else ""
    return where + " ".join(str(cause or error).split())
