"""The part of a logger that says where it logs, as Lightning's file loggers do."""

from __future__ import annotations

import os

from asynclog._lightning import paths


class Directories:
    """`<save_dir>/<name>/version_<n>/<sub_dir>`. Properties that a subclass overrides are followed by the others."""

    def _place(
        self,
        save_dir: str | os.PathLike[str],
        name: str | None,
        version: int | str | None,
        sub_dir: str | os.PathLike[str] | None,
    ) -> None:
        self._save_dir = os.fspath(save_dir)
        paths.check_local(self._save_dir)
        self._name = name or ""
        self._version = version
        self._version_given = version is not None
        self._sub_dir = None if sub_dir is None else os.fspath(sub_dir)

    @property
    def name(self) -> str:
        """The experiment's name, "" for none."""
        return self._name

    @property
    def version(self) -> int | str:
        """The version given, else the next number: found at the first look, and rank 0's once ranks can talk."""
        if self._version is None:
            self._version = paths.next_version(self.root_dir)
        return self._version

    @property
    def save_dir(self) -> str:
        """The directory of all experiments, as given."""
        return self._save_dir

    @property
    def root_dir(self) -> str:
        """The directory of the experiment's versions."""
        return os.path.join(self.save_dir, self.name)  # noqa: PTH118 - a str, as from Lightning's loggers

    @property
    def sub_dir(self) -> str | None:
        """The directory below the version's, if any."""
        return self._sub_dir

    @property
    def log_dir(self) -> str:
        """The run's directory."""
        parts = (self.root_dir, paths.version_dir(self.version), *([self._sub_dir] if self._sub_dir else []))
        return paths.expanded(os.path.join(*parts))  # noqa: PTH118 - as above
