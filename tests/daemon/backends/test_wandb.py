"""W&B offline: the files that the backend writes, read by W&B's own reader."""

from __future__ import annotations

import html
from pathlib import Path

import pytest

from asynclogd.backends._wandbnames import STEP, meant
from asynclogd.backends.base import RunInfo
from asynclogd.backends.wandb import WandbBackend, WandbConfig
from asynclogd.contractbase import MediaContent
from asynclogd.testing import BackendContract, Content
from tests.daemon.backends import wandbreader

pytestmark = pytest.mark.sdk


class TestWandb(BackendContract):
    def make(self) -> WandbBackend:
        return WandbBackend(WandbConfig(mode="offline"))

    def read(self, run: RunInfo) -> Content:
        return wandbreader.points(self._newest(run))

    def read_media(self, run: RunInfo) -> MediaContent:
        file = self._newest(run)
        return [
            (meant(key), int(row[STEP]), self._text_of(file.parent / "files" / value["path"]))
            for row in wandbreader.rows(file)
            for key, value in row.items()
            if isinstance(value, dict)
        ]

    def _text_of(self, page: Path) -> bytes:
        return html.unescape(page.read_text().removeprefix("<pre>").removesuffix("</pre>")).encode()

    def _newest(self, run: RunInfo) -> Path:
        """A killed backend removes nothing: the file that a rewind began is the run's."""
        return max(run.own_dir.glob("*run-*/*.wandb"), key=lambda path: path.parent.name)
