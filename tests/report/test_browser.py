"""The page in a real browser: Chromium, when there is one."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from sample_runs import page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium on this machine: the report was not looked at in a browser")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        yield opened
        opened.close()


@pytest.mark.parametrize("name", ["whole", "many_classes", "hostile", "stopped_at_once"])
def test_a_browser_has_nothing_to_complain_about(browser: Any, name: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 800})
    try:
        tab, said, asked = context.new_page(), [], []
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("dialog", lambda dialog: said.append(dialog.message))
        tab.on("request", lambda request: asked.append(request.url))
        address = page(name).as_uri()
        tab.goto(address)
        tab.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
        for width in (390, 1280):
            tab.set_viewport_size({"width": width, "height": 800})
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
        unseen = "[...document.images].filter(image => !image.complete || image.naturalWidth === 0).length"
        assert tab.evaluate(unseen) == 0
        for scheme in ("light", "dark"):
            tab.emulate_media(color_scheme=scheme)
            ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, ground[4:-1].split(","))) < 3 * 128) == (scheme == "dark")
        assert said == []
        assert [url for url in asked if url != address and not url.startswith("data:")] == []
    finally:
        context.close()
