"""A browser for the tests of the stepper, and the page that most of them open."""

from collections.abc import Iterator
from typing import Any

import pytest
from support.stepper_synthetic import list_sum

from workbench.widgets.export import to_html

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of an exported page on disk."""
    path = tmp_path_factory.mktemp("export") / "list_sum.html"
    path.write_text(to_html(list_sum()[0], "List sum"))
    return path.as_uri()
