"""Pages in headless Chromium: watched, opened at a step, photographed.

Set WORKBENCH_SCREENSHOTS to a folder to keep the screenshots; else they go to pytest's tmp_path.
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def watched(browser: Any, **options: Any) -> Iterator[Any]:
    """A page that must write no error to its console and ask nobody but this machine."""
    page = browser.new_page(**options)
    page.set_default_timeout(15_000)
    errors: list[str] = []
    foreign: list[str] = []
    page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    local = re.compile(r"(https?|wss?)://127\.0\.0\.1[:/]|file:|data:|blob:")
    page.on("request", lambda r: None if local.match(r.url) else foreign.append(r.url))
    page.on("websocket", lambda w: None if local.match(w.url) else foreign.append(w.url))
    yield page
    page.close()
    assert not errors
    assert not foreign


def keep(page: Any, name: str, tmp_path: Path) -> None:
    """Take a screenshot, into the folder that WORKBENCH_SCREENSHOTS names if it is set."""
    folder = Path(os.environ.get("WORKBENCH_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(folder / f"{name}.png"), full_page=True)


@contextmanager
def opened(browser: Any, exported: str, step: int = 0, **options: Any) -> Iterator[Any]:
    """The exported page at a step, with the stepper focused."""
    with watched(browser, **options) as page:
        page.goto(f"{exported}#t={step}")
        page.wait_for_selector(f".stp[data-step='{step}']")
        page.focus(".stp")
        yield page


def step_of(page: Any) -> int:
    return int(page.get_attribute(".stp", "data-step"))


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Poll until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
