"""Copier: reads a template's questions, asks them and renders. Nothing else imports it."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import copier
import jinja2
import plumbum
import yaml
from copier import _main, _settings, _template, _user_data, errors

from mlscaffold import store
from mlscaffold.errors import MlscaffoldError, unknown

_WHAT_TEMPLATES_GET_WRONG = (
    errors.CopierError,
    jinja2.TemplateError,
    plumbum.ProcessExecutionError,
    yaml.YAMLError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class Template:
    """A checkout's questions, and what of it would run code of its own."""

    checkout: store.Checkout
    questions: Mapping[str, Mapping[str, Any]]
    unsafe: tuple[str, ...]

    @property
    def has_tasks(self) -> bool:
        return "tasks" in self.unsafe


class FastWorker(_main.Worker):
    """Copier's worker, without what it does again and again for each file.

    Renders the same bytes in a fraction of the time: it compiles a string once, and asks git
    nothing, because the destination is a new folder that git does not know yet.
    """

    @property
    def answers_relpath(self) -> Path:
        path = self.answers_file or self.template.answers_relpath
        return super().answers_relpath if "{" in str(path) else Path(path)

    @cached_property
    def jinja_env(self) -> Any:
        environment = super().jinja_env
        compile_string = environment.from_string
        compiled: dict[str, Any] = {}

        def from_string(source: str, *arguments: Any, **options: Any) -> Any:
            if arguments or options or not isinstance(source, str):
                return compile_string(source, *arguments, **options)
            if source in compiled:
                environment.preprocess(source)  # extensions may keep state between strings
            else:
                compiled[source] = compile_string(source)
            return compiled[source]

        vars(environment)["from_string"] = from_string
        return environment

    def _sync_git_index_executable_bit(self, dst_relpath: Path, src_mode: int) -> None:
        """Nothing to do: no index holds the new file yet."""

    def unanswered(self) -> dict[str, str]:
        """The questions that would be asked, with their help; defaults stand in for answers."""
        self.answers = _user_data.AnswersMap(init=self.data, metadata=self.template.metadata)
        asked = {}
        for name, details in self.template.questions_data.items():
            question = _user_data.Question(
                answers=self.answers,
                context=self._render_context(),
                jinja_env=self.jinja_env,
                settings=self.settings,
                var_name=name,
                **details,
            )
            if name not in self.data and question.get_when() and question.get_ask():
                asked[name] = question.get_message().strip()
            with contextlib.suppress(ValueError):  # the default may be one that has to be changed
                self.answers.user[name] = question.get_default()
        return asked


def can_render_fast() -> bool:
    """Whether this release of Copier still has the private parts that FastWorker leans on."""
    methods = ("_ask", "_render_context", "_sync_git_index_executable_bit", "run_copy")
    return all(hasattr(_main.Worker, name) for name in (*methods, "answers_relpath", "jinja_env"))


def read(checkout: store.Checkout) -> Template:
    """The template in a checkout. Raises MlscaffoldError when its copier.yml is broken."""
    with _plain_errors(checkout.address):
        source = _known(_template.Template(url=checkout.address), checkout)
        config, questions = source.config_data, source.questions_data
        features = ("jinja_extensions", "migrations", "tasks")
        return Template(checkout, questions, tuple(name for name in features if config.get(name)))


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
    with _plain_errors(template.checkout.address):
        return _worker(template, Path(name), answers, ask=False).unanswered()


def render(
    template: Template, destination: Path, answers: Mapping[str, Any], *, ask: bool
) -> dict[str, Any]:
    """Renders into destination, without tasks, and returns every answer.

    What answers does not hold is asked on the terminal, or else takes the question's default.
    Raises MlscaffoldError for an answer that the template refuses and for errors in the template.
    """
    with _plain_errors(template.checkout.address):
        if can_render_fast():
            worker = _worker(template, destination, answers, ask=ask)
            worker.run_copy()
        else:
            worker = render_plainly(template, destination, answers, ask=ask)
        found, hidden = worker.answers.combined, worker.answers.hidden
        return {
            name: found[name] for name in template.questions if name in found and name not in hidden
        }


def run_tasks(template: Template, destination: Path, answers: Mapping[str, Any]) -> None:
    """Runs a trusted template's tasks in the project, with Copier's variables."""
    with _plain_errors(template.checkout.address):
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
    checkout = template.checkout
    worker = FastWorker(
        src_path=checkout.address,
        dst_path=destination,
        data=dict(answers),
        vcs_ref=checkout.commit,
        settings=_settings.SettingsModel(),
        defaults=not ask,
        overwrite=True,
        quiet=True,
        unsafe=True,
        skip_tasks=True,
    )
    source = _known(worker.template, checkout)
    for details in source.questions_data.values():
        details.setdefault("qmark", "?")
    return worker


def _known(source: _template.Template, checkout: store.Checkout) -> _template.Template:
    """Copier's template, told what it would otherwise ask git for."""
    vars(source).update(
        local_abspath=checkout.folder.resolve(),
        vcs="git" if checkout.commit else None,
        commit=checkout.version,
        commit_hash=checkout.commit,
    )
    return source


@contextlib.contextmanager
def _plain_errors(address: str) -> Iterator[None]:
    """Turns what a template or an answer got wrong into one line; silences Copier's own."""
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", errors.CopierWarning)
        try:
            yield
        except KeyboardInterrupt:
            raise KeyboardInterrupt from None
        except OSError as error:
            raise MlscaffoldError(
                f"{error.strerror or error}: {error.filename or address}."
            ) from None
        except _WHAT_TEMPLATES_GET_WRONG as error:
            place = "" if type(error) is ValueError else f"The template {address}: "
            raise MlscaffoldError(place + _reason(error)) from None


def _reason(error: BaseException) -> str:
    cause = error.__cause__ if isinstance(error, errors.InvalidConfigFileError) else None
    where = f"line {error.lineno}: " if isinstance(error, jinja2.TemplateSyntaxError) else ""
    return where + " ".join(str(cause or error).split())
