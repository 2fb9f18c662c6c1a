from __future__ import annotations

from mlscaffold.errors import MlscaffoldError, unknown


def test_errors_are_masked() -> None:
    error = MlscaffoldError("https://me:s3cret@host/x")
    assert "s3cret" not in error.format_message() + error.message


def test_unknown_names_the_closest() -> None:
    assert unknown("key", "tempate", ["template", "trust"]).message.endswith("mean template?")


def test_unknown_lists_all_when_none_is_close() -> None:
    assert unknown("key", "zzz", ["template", "trust"]).message.endswith("template, trust.")
