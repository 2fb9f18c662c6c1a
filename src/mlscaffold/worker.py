"""Copier's private parts: workers that render fast, and render versions of an existing project."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from copier import _main, _user_data
from copier._tools import cast_to_bool
from copier._types import LazyDict, Phase
from jinja2.ext import Extension
from pydantic import ValidationError

from mlscaffold import naming, yaml_text
from mlscaffold.errors import MlscaffoldError, is_raised_by_us
from mlscaffold.external_data import Reader
from mlscaffold.git_paths import is_gits_own

__all__ = [
    "FastWorker",
    "Phase",
    "VersionWorker",
    "can_render_fast",
    "known_answers",
    "operation",
    "refuse_endless_links",
    "stdout_to_stderr",
]

_COMPILED: dict[tuple[str, str, str | None], Any] = {}
_HOW_TO_TRUST = "Read it, and if you trust it, add --trust."
# Filters that read environment variables, and the names of any files.
_FILTERS_OF_THE_MACHINE = ("expandvars", "fileglob")
_MOST_LINKED = 10_000  # files and folders behind links to folders
_LINE_BREAK = re.compile(r"\r\n|\r|\n")
# What Copier says before the reason why it refuses an answer.
_REFUSAL = re.compile(r"^(Validation error for question|Invalid choice for) '[^']*': ")


@dataclass(frozen=True)
class _Plain:
    """In place of a compiled template for text without a tag."""

    text: str

    def render(self, *_context: Any, **_variables: Any) -> str:
        return self.text


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
        vars(environment)["compile"] = self._compile_once(environment)
        compile_string = environment.from_string
        compiled: dict[str, Any] = {}

        def from_string(source: str, *arguments: Any, **options: Any) -> Any:
            if arguments or options or not isinstance(source, str):
                return compile_string(source, *arguments, **options)
            if source in compiled:
                environment.preprocess(source)  # extensions may keep state between strings
            elif _is_plain(environment, source):
                compiled[source] = _Plain(source)
            else:
                compiled[source] = compile_string(source)
            return compiled[source]

        vars(environment)["from_string"] = from_string
        if not self.unsafe:
            for name in _FILTERS_OF_THE_MACHINE:
                environment.filters[name] = partial(_refuse_filter, name)
        return environment

    def _compile_once(self, environment: Any) -> Any:
        """Most of a template is the same in two versions of it, and so is its code."""
        compile_ = environment.compile
        envops = sorted(self.template.envops.items())
        # The compiler reads filters of constants, so what is trusted is compiled for itself.
        settings = repr((envops, self.template.jinja_extensions, self.unsafe))

        def compile_once(source: Any, name: Any = None, filename: Any = None, **more: Any) -> Any:
            if more or not isinstance(source, str):
                return compile_(source, name, filename, **more)
            key = (settings, source, name)
            if key in _COMPILED:
                environment.preprocess(source, name, filename)  # as in from_string
            else:
                _COMPILED[key] = compile_(source, name, filename)
            return _COMPILED[key]

        return compile_once

    @property
    def data_folder(self) -> Path:
        """Where external data are read."""
        return self.dst_path

    def _external_data(self) -> Any:
        """As Copier does; refuses what Copier refuses, and git's own folder and `~` as well."""

        def load(path: str) -> Any:
            with Phase.use(Phase.UNDEFINED):
                name = self._render_string(path)
            if not (self.unsafe or self._is_below_data_folder(name)):
                raise MlscaffoldError(
                    f"The template reads {name!r} as external data, which is not below the "
                    f"project. {_HOW_TO_TRUST}"
                )
            known = self.read_external(name)
            if known is not None:
                return known
            self._check_size(name)
            return _user_data.load_answersfile_data(self.data_folder, name, warn_on_missing=True)

        paths = self.external_paths()
        return LazyDict({name: partial(load, path) for name, path in paths.items()})

    def external_paths(self) -> Mapping[str, str]:
        """Return what the template's _external_data says. Raises where that is no table."""
        paths = self.template.external_data
        if not isinstance(paths, dict):
            raise MlscaffoldError("The template's _external_data has to be a table: NAME: FILE")
        return paths

    def read_external(self, _name: str) -> Mapping[str, Any] | None:
        """Return what a file holds that is external data, where it is not the file that tells."""
        return None

    def _check_size(self, name: str) -> None:
        path = self.data_folder / name
        if not path.is_file():
            return
        try:
            yaml_text.check_size(path.read_bytes())
        except MlscaffoldError as error:
            raise MlscaffoldError(f"{path} {error.message}") from None

    def _is_below_data_folder(self, name: str) -> bool:
        if name.startswith("~"):
            return False
        folder = self.data_folder.resolve()
        path = (folder / name).resolve()
        return path.is_relative_to(folder) and not is_gits_own(path.relative_to(folder).as_posix())

    def _render_template(self) -> None:
        if not self.template.preserve_symlinks:
            refuse_endless_links(self.template_copy_root, self.template.local_abspath)
        super()._render_template()

    def _render_path(self, relpath: Path) -> Any:
        """As Copier does, but for `.git` of the checkout and of its submodules.

        It is no part of the template, which Copier forgets when _exclude does not name it.
        """
        return () if ".git" in relpath.parts else super()._render_path(relpath)

    def _sync_git_index_executable_bit(self, dst_relpath: Path, src_mode: int) -> None:
        """Nothing to do: no index holds the new file yet."""

    def _ask(self) -> None:
        """Ask, and check every answer: given, typed, recorded, or a default."""
        naming.check_answers(self.data)
        refused = self._ask_all()
        if refused:
            raise _to_answer(refused)
        self._refuse_credentials()

    def _ask_all(self) -> dict[str, str]:
        """Ask Copier's way; the questions that have to be answered first, each with the reason.

        Copier ends at the first one. It is left out then, so that the next ones are found too.
        """
        refused: dict[str, str] = {}
        left_out: set[str] = set()
        questions = self.template.questions_data
        while True:
            rest = {name: one for name, one in questions.items() if name not in left_out}
            vars(self.template)["questions_data"] = rest
            try:
                super()._ask()
            except Exception as error:
                name = _question_that_failed(error)
                if name is None or is_raised_by_us(error):
                    raise
                # It may fail only because one before it has no answer.
                if not any(_mentions(questions[name], other) for other in left_out):
                    refused[name] = self._refusal(name, error)
                left_out.add(name)
            else:
                return refused
            finally:
                vars(self.template)["questions_data"] = questions

    def _refuse_credentials(self) -> None:
        naming.refuse_credentials(self._shown_answers())

    def _shown_answers(self) -> dict[str, Any]:
        """Return the answers that are recorded."""
        hidden = self.answers.hidden | set(self.template.secret_questions)
        names = [name for name in self.template.questions_data if name not in hidden]
        answers = self.answers.combined
        return {name: answers[name] for name in names if name in answers}

    def _refusal(self, name: str, error: Exception) -> str:
        """Return why the question needs another answer. Raises where no answer helps."""
        if isinstance(error, ValidationError):
            raise _broken_question(name, error) from None
        if not isinstance(error, (ValueError, TypeError)):  # Copier's ways to refuse an answer
            raise error
        if name in self.data:
            reason = self._reason(name, error)
            raise MlscaffoldError(f"The answer to {name} is not allowed: {reason}.") from None
        if str(error) == f'Question "{name}" is required':
            return f"The question {name} is new and has no default."
        return f"The default of the question {name} is not allowed: {self._reason(name, error)}."

    def _reason(self, name: str, error: Exception) -> str:
        """Return why Copier refuses an answer, in its own words if it has any."""
        text = " ".join(_REFUSAL.sub("", str(error)).split()).rstrip(".")
        type_ = self.template.questions_data[name].get("type", "yaml")
        return text or f"it is not of the type {type_}"

    def _question(self, name: str) -> _user_data.Question:
        """Return Copier's question of this name, as it is with the answers so far."""
        try:
            return _user_data.Question(
                answers=self.answers,
                context=self._render_context(),
                jinja_env=self.jinja_env,
                settings=self.settings,
                var_name=name,
                **self.template.questions_data[name],
            )
        except ValidationError as error:
            raise _broken_question(name, error) from None

    def message_after(self, operation: str) -> str:
        """What the template says to people after a copy or an update."""
        text = getattr(self.template, f"message_after_{operation}")
        return self._render_string(text).strip() if text else ""

    def unanswered(self) -> dict[str, str]:
        """The questions that would be asked, with their help; defaults stand in for answers."""
        self.answers = _user_data.AnswersMap(init=self.data, metadata=self.template.metadata)
        asked = {}
        for name in self.template.questions_data:
            question = self._question(name)
            if name not in self.data and question.get_when() and question.get_ask():
                asked[name] = question.get_message().strip()
            with contextlib.suppress(
                ValueError, TypeError
            ):  # the default may be one that has to be changed
                self.answers.user[name] = question.get_default()
        return asked


class VersionWorker(FastWorker):
    """Renders one version of an existing project into an empty folder.

    recorded are the answers of its answers file. External data are what reader says they are, or
    else are read in the project itself.
    Where is_written is False, it is only compared with, and may hold what no answer may.
    """

    recorded: Mapping[str, Any]
    project: Path
    is_written: bool
    reader: Reader | None

    @property
    def data_folder(self) -> Path:
        return self.project

    def read_external(self, name: str) -> Mapping[str, Any] | None:
        return self.reader(name) if self.reader else None

    def external_files(self) -> list[str]:
        """Return the files of the project that the template reads as external data."""
        self.answers = known_answers(self)
        with Phase.use(Phase.UNDEFINED):
            return [self._render_string(path) for path in self.external_paths().values()]

    def _ask_all(self) -> dict[str, str]:
        vars(self.subproject)["last_answers"] = dict(self.recorded)
        refused = super()._ask_all()
        if self.defaults:
            refused |= self._no_longer_allowed()
        return refused

    def _refuse_credentials(self) -> None:
        if not self.is_written:
            return
        answers = self._shown_answers()
        recorded = {k: v for k, v in answers.items() if self.recorded.get(k) == v}
        naming.refuse_credentials(recorded, again=True)
        naming.refuse_credentials(answers)

    def _no_longer_allowed(self) -> dict[str, str]:
        """Return the recorded answers that Copier would replace by a default, unseen."""
        refused = {}
        for name in self.template.questions_data:
            known = name in self.answers.last or name in self.answers.hidden or name in self.data
            if name in self.recorded and not known:
                value = self.recorded[name]
                why = self._why_not_allowed(name, value)
                refused[name] = f"The answer {value!r} to {name} is no longer allowed{why}."
        return refused

    def _why_not_allowed(self, name: str, value: Any) -> str:
        try:
            question = self._question(name)
            question.validate_answer(question.parse_answer(value))
        except (ValueError, TypeError) as error:
            return f": {self._reason(name, error)}"
        return ""

    def defaults_taken(self) -> dict[str, Any]:
        """The questions that nobody answered yet, with the defaults that they took."""
        if not self.defaults:
            return {}
        answered = self.recorded.keys() | self.data.keys() | self.answers.hidden
        return {
            name: self.answers.combined.get(name)
            for name in self.template.questions_data
            if name not in answered and name not in self.template.secret_questions
        }

    def is_due(self, task: Any) -> bool:
        """Say whether the condition of a task or migration is true, as Copier decides it."""
        extra = {f"_{name}": value for name, value in task.extra_vars.items()}
        extra["_copier_operation"] = "update"
        with Phase.use(Phase.MIGRATE):
            return bool(cast_to_bool(self._render_value(task.condition, extra)))

    def exclusions(self, recorded: Mapping[str, Any]) -> list[str]:
        """The patterns of _exclude, as they read with the answers that are recorded."""
        extra = {**recorded, "_copier_operation": "update"}
        context = {**self._render_context(), **extra}
        texts = (self.jinja_env.from_string(text).render(context) for text in self.all_exclusions)
        return [line for text in texts for line in _LINE_BREAK.split(text)]


def refuse_endless_links(start: Path, template: Path) -> None:
    """Raise for links to folders through which Copier would render files without end."""
    waiting: list[tuple[Path, tuple[Path, ...], bool]] = [(start, (start.resolve(),), False)]
    linked = 0
    while waiting:
        folder, above, is_linked = waiting.pop()
        for entry in os.scandir(folder):
            linked += is_linked
            if linked > _MOST_LINKED:
                raise MlscaffoldError(
                    f"The template has more than {_MOST_LINKED:,} files behind links to folders."
                )
            if entry.name == ".git" or not entry.is_dir():
                continue
            path = Path(entry.path)
            real = path.resolve() if entry.is_symlink() else above[-1] / entry.name
            if entry.is_symlink() and any(place.is_relative_to(real) for place in above):
                name = path.relative_to(template)
                raise MlscaffoldError(
                    f"The template's link {name} leads to a folder that it is in."
                )
            if real.is_relative_to(template):  # or else Copier refuses the link
                waiting.append((path, (*above, real), is_linked or entry.is_symlink()))


def _refuse_filter(name: str, *_arguments: object, **_options: object) -> str:
    raise MlscaffoldError(
        f"The template uses the filter {name}, which reads from this machine what is not the "
        f"template's. {_HOW_TO_TRUST}"
    )


def _is_plain(environment: Any, source: str) -> bool:
    """Whether a string renders to itself, whatever the answers are."""
    tags = ("variable_start_string", "block_start_string", "comment_start_string")
    extensions = environment.extensions.values()
    return not (
        "\n" in source
        or "\r" in source
        or any(getattr(environment, tag) in source for tag in tags)
        or environment.line_statement_prefix
        or environment.line_comment_prefix
        or any(type(each).filter_stream is not Extension.filter_stream for each in extensions)
        or environment.preprocess(source) != source
    )


def known_answers(worker: VersionWorker) -> Any:
    """What is known before anything is asked: the recorded answers."""
    return _user_data.AnswersMap(
        last=dict(worker.recorded), init=worker.data, metadata=worker.template.metadata
    )


def can_render_fast() -> bool:
    """Whether this release of Copier still has the private parts that the workers lean on."""
    methods = (
        "_ask",
        "_render_context",
        "_render_path",
        "_render_template",
        "_render_value",
        "_sync_git_index_executable_bit",
    )
    mine = (
        "_external_data",
        "_execute_tasks",
        "answers_relpath",
        "jinja_env",
        "all_exclusions",
        "run_copy",
    )
    return all(hasattr(_main.Worker, name) for name in (*methods, *mine)) and hasattr(
        _main, "_operation"
    )


@contextlib.contextmanager
def operation(name: str) -> Iterator[None]:
    """What `_copier_operation` says within."""
    token = _main._operation.set(name)  # type: ignore[arg-type]
    try:
        yield
    finally:
        _main._operation.reset(token)


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Sends what other programs print to stderr, as stdout is for results."""
    sys.stdout.flush()
    try:
        kept, target = os.dup(1), sys.__stderr__.fileno() if sys.__stderr__ else 2
    except (OSError, ValueError):  # there is no such stream
        yield
        return
    os.dup2(target, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _question_that_failed(error: BaseException) -> str | None:
    """Return the name of the question that Copier was at when it raised, None if at none.

    Its errors do not always name the question; its loop over the questions knows.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code is _main.Worker._ask.__code__:
            name = frame.f_locals.get("var_name")
            return name if isinstance(name, str) else None
    return None


def _mentions(details: Mapping[str, Any], name: str) -> bool:
    """Say whether a question's own text names another one."""
    return re.search(rf"\b{re.escape(name)}\b", repr(dict(details))) is not None


def _broken_question(name: str, error: ValidationError) -> MlscaffoldError:
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    return MlscaffoldError(f"The template's question {name} is broken: {place}: {first['msg']}.")


def _to_answer(refused: Mapping[str, str]) -> MlscaffoldError:
    options = " ".join(f"--data {name}=ANSWER" for name in refused)
    them = "it" if len(refused) == 1 else "them"
    return MlscaffoldError(f"{' '.join(refused.values())} Answer {them}: {options}")
