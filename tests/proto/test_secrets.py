from __future__ import annotations

import pytest

from asynclog_proto.errors import ConfigError
from asynclog_proto.secrets import check_options, is_secret, reference

SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    "key", ["api_key", "apikey", "WANDB_API_KEY", "token", "auth_token", "password", "client-secret"]
)
def test_an_option_that_is_named_like_a_secret_is_one(key):
    assert is_secret(key)
    with pytest.raises(ConfigError, match=key) as caught:
        check_options("mine", {key: SECRET})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "key", ["max_tokens", "experiment_key", "monkey", "secretary", "tokens", "key", "credentials_file"]
)
def test_another_is_none(key):
    assert not is_secret(key)
    check_options("mine", {key: SECRET})


@pytest.mark.parametrize("value", ["env:WANDB_API_KEY", "file:/run/secrets/key", "", None, 7, True])
def test_a_reference_or_nothing_at_all_is_fine(value):
    check_options("mine", {"token": value})


@pytest.mark.parametrize(
    "value", ["https://me:hunter2@host/", "postgresql://me:p%40ss@db:5432/x", "http://:hunter2@host"]
)
def test_an_address_with_a_password_is_refused_under_any_name(value):
    with pytest.raises(ConfigError, match="tracking_uri") as caught:
        check_options("mlflow", {"tracking_uri": value})
    assert value not in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("value", ["https://host:5000/a@b:c", "https://me@host/", "sqlite:////x.db", "a:b@c", "/d:e@f"])
def test_an_address_without_one_is_not(value):
    check_options("mlflow", {"tracking_uri": value})


def test_references():
    assert reference("env:A") == ("env", "A")
    assert reference("file:/a:b") == ("file", "/a:b")
    assert reference("env:") is None
    assert reference("sk-123") is None
