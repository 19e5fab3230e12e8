"""What a researcher sees: two runs in a real `tensorboard`, in headless Chromium.

The screenshots are left in the folder that the variable SCREENSHOTS names, or else in each test's tmp_path.
"""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

import asynclog
from tests.conftest import own_runtime_dir
from tests.tensorboardserver import Server

pytestmark = pytest.mark.timeout(180)

STRIPES = ((255, 64, 0), (0, 160, 96), (32, 0, 224))
STEPS = 10
RUNS = ("digits/adam/tensorboard", "digits/sgd/tensorboard")


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of two runs with an image, a histogram that wanders to the right, hyperparameters and metrics."""
    folder = tmp_path_factory.mktemp("logged")
    flag = np.repeat(np.array([STRIPES], np.uint8), 64, 0).repeat(32, 1)  # HWC: 64 x 96 pixels in three stripes
    rng = np.random.default_rng(0)
    backends = {"tensorboard": {"system_metrics": False}}  # the table has the same columns however long it takes
    with own_runtime_dir():
        for name, lr, decay, accuracy in (("adam", 0.001, 0.5, 0.9375), ("sgd", 0.25, 0.75, 0.8125)):
            config = {"lr": lr, "optimizer": {"name": name}}
            with asynclog.init(project="digits", name=name, dir=str(folder), config=config, backends=backends) as run:
                for step in range(STEPS):
                    weights = asynclog.Histogram(rng.normal(step / 2, 1, 1000))
                    run.log({"train/loss": decay**step, "layer/weights": weights}, step=step)
                run.log({"samples/flag": asynclog.Image(flag, dataformats="HWC")}, step=STEPS - 1)
                run.summary(accuracy=accuracy)
    return folder


@pytest.fixture(scope="module")
def tensorboard(logged: Path, eventually: Callable[..., None]) -> Iterator[Server]:
    """It has read everything, because a page that was opened before that stays empty."""
    server = Server(logged)
    kinds = {"images": "samples/flag", "histograms": "layer/weights", "scalars": "summary/accuracy"}
    try:
        eventually(
            lambda: all(tag in server.tags(plugin, run) for run in RUNS for plugin, tag in kinds.items()),
            deadline=120,
            what="TensorBoard with both runs",
        )
        yield server
    finally:
        server.end()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        pytest.fail("there is no chromium: install Debian's package of that name (apt-get install chromium)")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    yield page
    page.close()


@pytest.fixture
def keep(page: Page, tmp_path: Path) -> Callable[[str], None]:
    """`keep(name)`: leave a screenshot of the page to be looked at."""
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))

    def shoot(name: str) -> None:
        page.screenshot(path=folder / f"{name}.png")

    return shoot


def pixels(shown: Locator) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(shown.screenshot())).convert("RGB")).astype(int)


def has_stripes(picture: Locator) -> bool:
    """Whether the middle of each third has its stripe's colour."""
    found = pixels(picture)
    height, width, _ = found.shape
    middles = [found[height // 2, width * (2 * third + 1) // 6] for third in range(3)]
    return bool(np.abs(np.array(middles) - STRIPES).max() <= 2)


def is_drawn(chart: Locator) -> bool:
    """Whether a twentieth of the chart at least has colour: axes and letters are grey."""
    found = pixels(chart)
    return bool((np.ptp(found, axis=2) > 30).mean() > 0.05)


def peak(outline: Locator) -> float:
    """Where the highest point of an SVG path lies; y grows downwards."""
    points = re.findall(r"([-\d.]+),([-\d.]+)", outline.get_attribute("d") or "0,0")
    return min((float(y), float(x)) for x, y in points)[1]


def wanders(outlines: Locator) -> bool:
    return 0 < peak(outlines.first) < peak(outlines.last)


def card(page: Page, element: str, run: str) -> Locator:
    return page.locator(element).filter(has_text=run)


def test_images_have_their_colours(page: Page, tensorboard: Server, keep, eventually) -> None:
    page.goto(f"{tensorboard.url}#images")
    for run in RUNS:
        shown = card(page, "tf-image-loader", run)
        expect(shown).to_contain_text("samples/flag")
        expect(shown).to_contain_text(f"step {STEPS - 1}")
        picture = shown.locator("img")
        expect(picture).to_have_js_property("naturalWidth", 96)
        eventually(partial(has_stripes, picture), what=f"a picture of three stripes in {run}")
    keep("images")


def test_histograms_have_an_outline_a_step_and_wander(page: Page, tensorboard: Server, keep, eventually) -> None:
    page.goto(f"{tensorboard.url}#histograms")
    for run in RUNS:
        shown = card(page, "tf-histogram-loader", run)
        expect(shown).to_contain_text("layer/weights")
        outlines = shown.locator("path.outline")
        expect(outlines).to_have_count(STEPS)
        eventually(partial(wanders, outlines), what=f"a histogram in {run} that wanders to the right")
        eventually(partial(is_drawn, shown.locator("svg").first), what=f"a coloured chart in {run}")
    keep("histograms")


def test_distributions_are_drawn(page: Page, tensorboard: Server, keep, eventually) -> None:
    page.goto(f"{tensorboard.url}#distributions")
    for run in RUNS:
        shown = card(page, "tf-distribution-loader", run)
        expect(shown).to_contain_text("layer/weights")
        eventually(partial(is_drawn, shown.locator("vz-distribution-chart")), what=f"a coloured chart in {run}")
    keep("distributions")


def test_the_hparams_table_has_both_trials_with_their_metrics(page: Page, tensorboard: Server, keep) -> None:
    page.goto(f"{tensorboard.url}#hparams")
    cells = page.locator("tf-hparams-table-view .table-cell").filter(has_text=re.compile(r"\S"))
    header = ["Trial ID", "Show Metrics", "lr", "optimizer/name", "summary/accuracy", "train/loss"]
    adam = [RUNS[0], "0.0010000", "adam", "0.93750", "0.0019531"]
    sgd = [RUNS[1], "0.25000", "sgd", "0.81250", "0.075085"]
    expect(cells).to_have_text([*header, *adam, *sgd])
    keep("hparams")


def test_time_series_has_a_card_for_each_tag(page: Page, tensorboard: Server, keep, eventually) -> None:
    page.set_viewport_size({"width": 1400, "height": 2000})  # cards out of sight are not drawn
    page.goto(f"{tensorboard.url}#timeseries")
    for closed in ("summary", "train"):  # the first two groups are open
        page.get_by_title(closed, exact=True).click()
    for run in RUNS:
        histogram = card(page, "histogram-card", run)
        expect(histogram).to_contain_text("weights")
        eventually(partial(is_drawn, histogram.locator("tb-histogram")), what=f"a coloured chart in {run}")
        eventually(partial(has_stripes, card(page, "image-card", run).locator("img")), what=f"a picture in {run}")
    scalars = page.locator("scalar-card")
    expect(scalars).to_have_count(2)
    for value in ("0.9375", "0.8125"):
        expect(scalars.filter(has_text="accuracy")).to_contain_text(value)
    for value in ("0.002", "0.0751"):
        expect(scalars.filter(has_text="loss")).to_contain_text(value)
    keep("timeseries")
