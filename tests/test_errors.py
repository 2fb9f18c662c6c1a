from __future__ import annotations

import pytest

from mlscaffold.errors import MlscaffoldError, mask, unknown


@pytest.mark.parametrize("secret", ["https://me:s3cret@host/x", "https://ghp_abc@host/x"])
def test_mask_hides_credentials(secret: str) -> None:
    assert mask(f"cannot reach {secret}") == "cannot reach https://***@host/x"


def test_mask_leaves_other_text() -> None:
    assert mask("git@host:x and https://host/a@b") == "git@host:x and https://host/a@b"


def test_errors_are_masked() -> None:
    assert "s3cret" not in MlscaffoldError("https://me:s3cret@host/x").format_message()


def test_unknown_names_the_closest() -> None:
    assert unknown("key", "tempate", ["template", "trust"]).message.endswith("mean template?")


def test_unknown_lists_all_when_none_is_close() -> None:
    assert unknown("key", "zzz", ["template", "trust"]).message.endswith("template, trust.")
