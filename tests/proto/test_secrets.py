from __future__ import annotations

import pytest

from asynclog_proto.errors import ConfigError
from asynclog_proto.secrets import check_options, is_secret, reference, without_passwords

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


ADDRESSES = [
    f"https://me:{SECRET}@host/",
    f"https://me:{SECRET}/{SECRET}@host/",
    f"https://me@there:7{SECRET}@host/",
    f"http://:{SECRET}@host",
    f"postgresql://me:p%40{SECRET}@db:5432/x",
    f"postgresql://me:1/{SECRET}@host/db",
    f"postgresql://me:a#{SECRET}@host/db",
    f"postgresql+psycopg://me:a?{SECRET}@host/db",
    f"postgresql://me:two {SECRET}@host/db",
    f"postgresql://me@there:{SECRET}@host/db",
    f"mysql://my own:p@{SECRET}@host/db",
    f"postgresql:///db?host=h&user=me&password={SECRET}",
    f"mssql://host/db?PWD={SECRET},#",
    f"postgresql://host/db?sslpassword={SECRET}&x=1",
    f"mssql+pyodbc:///?odbc_connect=SERVER%3Dh%3BUID%3Dme%3BPWD%3D{SECRET}%3BTrust%3Dno",
    f"mssql+pyodbc:///?odbc_connect=SERVER=h;PWD={SECRET};Trust=no",
]


@pytest.mark.parametrize("value", ADDRESSES)
def test_an_address_with_a_password_is_refused_under_any_name(value):
    with pytest.raises(ConfigError, match="tracking_uri") as caught:
        check_options("mlflow", {"tracking_uri": value})
    assert SECRET not in str(caught.value)
    assert "'env:NAME'" in str(caught.value)
    for within in ([f"see {value}"], {"a": {"b": value}}, {value: 1}):
        with pytest.raises(ConfigError, match="tags"):
            check_options("mlflow", {"tags": within})


@pytest.mark.parametrize("value", ADDRESSES)
def test_a_text_is_shown_without_it(value):
    shown = without_passwords(f"see {value} and x", "***")
    assert SECRET not in shown
    assert shown.startswith(f"see {value.partition('://')[0]}://")
    assert "***" in shown
    assert shown.endswith(" and x")
    assert without_passwords(shown, "***") == shown


@pytest.mark.parametrize("value", [
    "see https://wiki.corp: ask me@corp.com", "http://[::1]:5000/a@b", "https://host:5000/a@b:c",
    "https://host/path:x@y", "https://me@host/", "sqlite:////x.db", "sqlite:////x:y@z.db",
    "a:b@c", "/d:e@f", "postgresql://me@host:5432/x?password=", 7, ["a:b@c"], {"k": "a:b@c"},
])  # fmt: skip
def test_an_address_without_one_is_not(value):
    check_options("mlflow", {"tracking_uri": value})


def test_references():
    assert reference("env:A") == ("env", "A")
    assert reference("file:/a:b") == ("file", "/a:b")
    assert reference("env:") is None
    assert reference("sk-123") is None
