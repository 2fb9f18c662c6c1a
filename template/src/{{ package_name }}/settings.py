"""The settings of a round (params.yaml, one overlay from training/experiments, --set), and the errors a user sees."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import click
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from . import credentials

COMMAND = f"uv run {__package__}"  # what a person types
LARGEST_YAML = 100_000  # values in a file
M = TypeVar("M", bound=BaseModel)


class ProjectError(click.ClickException):
    """Bad input or a broken set-up, without a traceback: what happened, where, and what to type next.

    Whatever a library said of an address, no password and no token of it is in the message.
    """

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(credentials.mask(message))


class ContractError(ProjectError):
    """The data breaks its contract: nothing is trained, the champion stays."""

    exit_code = 30


class Section(BaseModel):
    """A part of params.yaml; a key that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _refuse_credential(address: str) -> str:
    """The address; ValueError when it holds a credential, which would go into git, reports and MLflow with it."""
    if kind := credentials.find(address):
        what_to_do = "write ${NAME} there and set NAME in the environment"
        raise ValueError(f"it holds what looks like {kind}; {what_to_do}")
    return address


Address = Annotated[str, AfterValidator(_refuse_credential)]


class DataParams(Section):
    uri: Address
    target: str
    time: str = ""
    key: list[str] = []
    holdout: float = Field(0.2, gt=0, lt=0.9)
    window: int = Field(60, ge=2)
    max_rows: int = Field(0, ge=0)

    @property
    def series(self) -> list[str]:
        """What names a series of a forecast: the key without the time."""
        return [name for name in self.key if name != self.time]


class FeatureParams(Section):
    max_categories: int = Field(30, ge=2)


class ForecastParams(Section):
    horizon: int = Field(7, ge=1)
    season: int | None = Field(None, ge=1)


class TrainingParams(Section):
    task: Literal["classification", "regression", "forecasting"]
    metric: str
    random_state: int = 0

    @property
    def kind(self) -> str:
        """What the model is: a forecast is a regression on what was before."""
        return "classification" if self.task == "classification" else "regression"


class ComputeParams(Section):
    """Where a search and the resamples of the gates are computed; it changes no result, so it is no part of an id."""

    backend: Literal["processes", "dask", "ray"] = "processes"
    workers: int = 1  # -1 for all that there are
    address: Address = ""


class Params(Section):
    """params.yaml: `model` holds the estimator's own keyword arguments."""

    data: DataParams
    features: FeatureParams = FeatureParams()
    forecast: ForecastParams | None = None
    model: dict[str, Any] = {}
    training: TrainingParams
    compute: ComputeParams = ComputeParams()

    @model_validator(mode="after")
    def _check_forecast(self) -> Self:
        is_forecast = self.training.task == "forecasting"
        if is_forecast != (self.forecast is not None):
            raise ValueError("the section forecast and training.task: forecasting belong together")
        if is_forecast and self.data.max_rows:
            raise ValueError("data.max_rows: a forecast needs every date; give it fewer series or a shorter history")
        if is_forecast and (not self.data.time or self.data.time not in self.data.key):
            raise ValueError("forecasting needs data.time, and data.key: the columns that name a series, and the time")
        return self


@dataclass(frozen=True)
class Settings:
    """Where the project is and what a round uses; `overrides` is what params.yaml has otherwise."""

    root: Path
    params: Params
    overrides: dict[str, Any] = field(default_factory=dict)

    @property
    def package(self) -> str:
        return __package__ or "project"

    @property
    def rolling(self) -> Any:
        """data/rolling.py, which makes the table of a forecast and is only in projects that forecast; else None."""
        return import_module(f"{__package__}.data.rolling") if self.params.forecast else None

    @property
    def forecasts(self) -> Any:
        """serving/forecasts.py, likewise."""
        return import_module(f"{__package__}.serving.forecasts") if self.params.forecast else None


def find_root(start: Path | None = None) -> Path:
    """The nearest folder above that holds params.yaml."""
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / "params.yaml").is_file():
            return folder
    raise ProjectError(f"No params.yaml in {start} or above: change to the project's folder.")


def load(root: Path | None = None, *, sets: Sequence[str] = (), experiment: str | None = None) -> Settings:
    """Reads params.yaml, then the overlay, then each `key=value` of `sets`.

    ProjectError on a file that is not YAML, an unknown key (the closest is named), a wrong value.
    """
    root = find_root(root)
    content = read_yaml(root / "params.yaml")
    plain = flatten(content)
    overrides = flatten(_overlay(root, experiment)) if experiment else {}
    overrides |= dict(map(_parse, sets))
    for key, value in overrides.items():
        put(content, key, value)
    different = {key: value for key, value in overrides.items() if plain.get(key, ...) != value}
    changed = {key: value for key, value in different.items() if not key.startswith("compute.")}
    return Settings(root, validate(Params, content, "params.yaml"), changed)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file."""
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProjectError(f"{path} does not exist.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = credentials.mask(str(error))
        raise ProjectError(f"{path} is not YAML: {' '.join(reason.split())}") from None
    if not isinstance(content, dict):
        raise ProjectError(f"{path} does not hold a mapping of keys to values.")
    return content


def parse_yaml(text: str) -> Any:
    """Return what YAML text holds. Raises YAMLError also where its aliases stand for far too much."""
    if "&" in text and _expanded_size(yaml.compose(text, yaml.SafeLoader), {}) > LARGEST_YAML:
        raise yaml.YAMLError("its aliases stand for far too much")
    return yaml.safe_load(text)


def _expanded_size(node: Any, sizes: dict[int, int]) -> int:
    """Return the number of values that a node stands for, its aliases written out."""
    if id(node) not in sizes:
        sizes[id(node)] = LARGEST_YAML + 1  # seen again on the way down: it holds itself
        entries = node.value if isinstance(node, yaml.CollectionNode) else []
        parts = chain.from_iterable(entry if isinstance(entry, tuple) else (entry,) for entry in entries)
        sizes[id(node)] = 1 + sum(_expanded_size(part, sizes) for part in parts)
    return sizes[id(node)]


def validate(model: type[M], content: dict[str, Any], where: str) -> M:
    """`content` as a `model`; the first thing that is wrong with it becomes one line."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            raise ProjectError(f"{where}: unknown key {closest(place, _keys(model))}") from None
        said = first["msg"].removeprefix("Value error, ")
        raise ProjectError(f"{': '.join(filter(None, [where, place, said]))}.") from None


def closest(word: str, known: Sequence[str]) -> str:
    """'word', and the known word that it resembles most."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"{word!r}" + (f"; did you mean {near[0]!r}?" if near else ".")


def flatten(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"model": {"max_depth": 3}} as {"model.max_depth": 3}."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        is_section = isinstance(value, dict) and value
        flat |= flatten(value, f"{prefix}{key}.") if is_section else {f"{prefix}{key}": value}
    return flat


def put(content: dict[str, Any], key: str, value: Any) -> None:
    """Sets a dotted key, "model.max_depth" in {"model": {…}}, or takes it away when the value is `...`."""
    *sections, last = key.split(".")
    for name in sections:
        content = content.setdefault(name, {})
        if not isinstance(content, dict):
            raise ProjectError(f"params.yaml has no key {key!r}: {name} holds no keys.")
    if value is ...:
        content.pop(last, None)
    else:
        content[last] = value


def _keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, info in model.model_fields.items():
        keys.append(f"{prefix}{name}")
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            keys += _keys(info.annotation, f"{prefix}{name}.")
    return keys


def _overlay(root: Path, experiment: str) -> dict[str, Any]:
    folder = root / "training" / "experiments"
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if experiment not in known:
        raise ProjectError(f"training/experiments has no {closest(experiment, known)}")
    return read_yaml(folder / f"{experiment}.yaml")


def _parse(item: str) -> tuple[str, Any]:
    key, equals, value = item.partition("=")
    if not equals or not key:
        raise ProjectError(f"--set takes key=value, not {item!r}; for example model.max_depth=6")
    try:
        return key, parse_yaml(value)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ProjectError(f"--set {key}: {value!r} is not a YAML value.") from None
