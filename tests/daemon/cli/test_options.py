"""Settings of a command: what its flags, its environment, a file and its directory make of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from asynclog_proto.errors import ConfigError
from asynclogd.cli.options import settings

TEXT = """
[backends.mlflow]
tracking_uri = "sqlite:///mlflow.db"
[backends.comet]
credentials_file = "key.txt"
"""


def test_a_relative_address_in_a_file_of_settings_is_of_the_directory_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, file = tmp_path / "here", tmp_path / "asynclog.toml"
    here.mkdir()
    file.write_text(TEXT)
    monkeypatch.chdir(here)
    found = settings(file, (), None, no_host_metrics=True)
    assert found.backends == {
        "mlflow": {"tracking_uri": f"sqlite:///{here}/mlflow.db"},
        "comet": {"credentials_file": f"{here}/key.txt"},
    }
    here.rmdir()
    with pytest.raises(ConfigError, match=r"mlflow\.db is relative, and the current directory has gone"):
        settings(file, (), None, no_host_metrics=True)
