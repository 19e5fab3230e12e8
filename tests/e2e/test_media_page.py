"""The code of docs/media.md runs as it stands, and TensorBoard shows what it logs."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.pages import blocks, run_code

pytestmark = [
    pytest.mark.torch,
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

PAGE = Path(__file__).parents[2] / "docs" / "media.md"
BLOCKS = blocks(PAGE.read_text())

LOGGED = {
    "image": 7, "video": 1, "audio": 1, "text": 1, "table": 1, "html": 1, "histogram": 11, "pr_curve": 1,
    "embedding": 2, "mesh": 2, "graph": 1, "layout": 1, "file": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The run's directory, after all blocks have run one after the other in one process."""
    folder = tmp_path_factory.mktemp("page")
    result = run_code("\n".join(BLOCKS), folder)
    ours = [line for line in result.stderr.splitlines() if "asynclog" in line]
    assert all(line.startswith("asynclog: logging to ") for line in ours), "the page's code is warned of"
    yield folder / "asynclog" / "digits" / "media"
    shutil.rmtree(folder)


def test_every_item_of_the_page_is_delivered(page: Path) -> None:
    lines = [json.loads(line) for line in (page / "jsonl" / "points.jsonl").read_text().splitlines()]
    assert Counter(line["kind"] for line in lines if line.get("type") == "media") == LOGGED


def test_tensorboard_shows_them(page: Path) -> None:
    found = EventAccumulator(str(page / "tensorboard"), {"tensors": 0, "images": 0, "histograms": 0}).Reload()
    tags = found.Tags()
    images = {"samples/first", "samples/second", "grey", "photo", "batch", "found", "curve", "clips"}
    assert set(tags["images"]) == images
    assert tags["audio"] == ["tone"]
    assert {"weights", "weights/auto", "weights/counted", "parameters/0.weight", "gradients/2.bias"} <= {
        *tags["histograms"]
    }
    texts = {f"{name}/text_summary" for name in ("note", "scores", "report", "weights")}
    meshes = {"cloud_VERTEX", "cloud_COLOR", "triangle_VERTEX", "triangle_FACE"}
    shown = {tag for tag in tags["tensors"] if not tag.startswith("_hparams_")}
    assert shown == texts | meshes | {"digits/3", "custom_scalars__config__"}
    assert tags["graph"]
    names = re.findall('tensor_name: "(.*)"', (page / "tensorboard" / "projector_config.pbtxt").read_text())
    assert sorted(names) == ["digits:00001", "words:00001"]


def test_each_kind_of_the_table_has_its_section() -> None:
    text = PAGE.read_text()
    headings = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    anchors = {heading.lower().replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= anchors
