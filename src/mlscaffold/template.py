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

from mlscaffold import store
from mlscaffold.errors import MlscaffoldError, is_raised_by_us, unknown
from mlscaffold.releases import version_of
from mlscaffold.worker import FastWorker, can_render_fast

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
    """

    checkout: store.Checkout
    questions: Mapping[str, Mapping[str, Any]]
    unsafe: tuple[str, ...]
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def has_tasks(self) -> bool:
        return "tasks" in self.unsafe


@dataclass(frozen=True)
class Rendering:
    """Every answer by question, and what the template says to people after a copy."""

    answers: Mapping[str, Any]
    message: str


def read(checkout: store.Checkout) -> Template:
    """The template in a checkout. Raises MlscaffoldError when its copier.yml is broken."""
    with plain_errors(checkout.address):
        source = _known(_template.Template(url=checkout.address), checkout)
        if raw := _raw_config(checkout.folder):
            vars(source)["_raw_config"] = raw
        config, questions = source.config_data, source.questions_data
        features = ("jinja_extensions", "migrations", "tasks")
        unsafe = tuple(name for name in features if config.get(name))
        return Template(checkout, questions, unsafe, deepcopy(source._raw_config))


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
    with plumbum.local.env(**store.redirection(checkout)):
        return copier.run_copy(
            checkout.address,
            destination,
            data=dict(answers),
            vcs_ref=checkout.commit,
            settings=copier.Settings(),
            defaults=not ask,
            overwrite=True,
            quiet=True,
            unsafe=True,
            skip_tasks=skip_tasks,
        )


def _worker(
    template: Template, destination: Path, answers: Mapping[str, Any], *, ask: bool
) -> FastWorker:
    return worker(
        FastWorker,
        template,
        destination,
        data=dict(answers),
        defaults=not ask,
        overwrite=True,
        unsafe=True,
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
