"""The stepper in headless Chromium: as an exported page, and in JupyterLab.

Set WORKBENCH_SCREENSHOTS to a folder to keep the screenshots; else they go to pytest's tmp_path.
"""

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import pytest
from lab_server import ROOT, Lab, serving
from stepper_synthetic import list_sum, long_run

from workbench.widgets.export import to_html
from workbench.widgets.payload import pack, unpack

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.browser

FIRST_NOTEBOOK = ROOT / "notebooks" / "00_sixty_seconds.ipynb"
OWN_NOTEBOOK = """\
from lab_server import ROOT, Lab, serving
from stepper_synthetic import list_sum
from workbench.widgets.stepper import Stepper
stepper = Stepper(list_sum()[0], t=3)
stepper
"""
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Time of one key press with the layout that follows; median and worst of many.
TIMED = """(key) => {
  const root = document.querySelector(".stp"), times = [];
  for (let i = 0; i < 200; i++) {
    const start = performance.now();
    root.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    root.offsetHeight;
    times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b)[100];
}"""
# Elements whose content is cut although nothing lets the reader scroll to it.
OVERFLOWING = """() => [document.documentElement,
    ...document.querySelectorAll(".stp, .stp-pane, .stp-bar")]
  .filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.className || e.tagName)"""


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield browser
        browser.close()


@contextmanager
def watched(browser: Any, **options: Any) -> Iterator[Any]:
    """A page that must write no error to its console and ask nobody but this machine."""
    page = browser.new_page(**options)
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


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of an exported page on disk."""
    path = tmp_path_factory.mktemp("export") / "list_sum.html"
    path.write_text(to_html(list_sum()[0], "List sum"))
    return path.as_uri()


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


KEYS = [
    (0, "ArrowRight ArrowRight j", 3),
    (9, "ArrowLeft k", 7),
    (9, "Home", 0),
    (9, "End", 196),
    (0, "ArrowLeft", 0),
    (196, "ArrowRight", 196),
    (0, "f", 192),
    (0, "f f", 193),
    (196, "F F", 192),
    (0, "c c", 12),
    (12, "C", 8),
    (0, "a", 6),
    (196, "A", 6),
    (14, "b Home n", 14),
    (14, "b n n N", 23),
    (0, "g 4 2 Enter j", 43),
    (5, "g 4 2 Escape j", 6),
    (5, "x z y d d m 0 Delete Enter", 5),
    (5, "Control+f Alt+ArrowLeft Meta+c", 5),
]


@pytest.mark.parametrize(("start", "keys", "end"), KEYS)
def test_keys_move_through_the_run(
    browser: Any, exported: str, start: int, keys: str, end: int
) -> None:
    with opened(browser, exported, start) as page:
        for key in keys.split():
            page.keyboard.press(key)
        assert step_of(page) == end


def test_a_step_is_shown_everywhere(browser: Any, exported: str) -> None:
    with opened(browser, exported, 15) as page:
        assert page.get_attribute(".stp", "data-pc") == "25"
        assert page.get_attribute(".stp", "data-n") == "197"
        assert page.inner_text(".stp-now .stp-text") == "r0 += r2"
        assert page.inner_text(".stp-regs tr.stp-written").split() == [
            *("RW", "r0", "0x0", "→", "0x1", "(+1)")
        ]
        assert page.inner_text(".stp-regs tr.stp-read:not(.stp-written)").split() == [
            *("R", "r2", "0x1")
        ]
        assert "r0 = 0 + 1 = 1." in page.inner_text(".stp-say")
        assert "frame 1, called from 16" in page.inner_text(".stp-regs")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        written = page.locator(".stp-bytes td.stp-written").all_inner_texts()
        assert written == ["01", *["00"] * 7]
        page.keyboard.press("Home")
        assert "0xffff888123456700" in page.inner_text(".stp-regs")


def test_the_address_follows_the_step_and_leads_to_it(browser: Any, exported: str) -> None:
    with opened(browser, exported, 15) as page:
        page.keyboard.press("ArrowRight")
        wait_for(lambda: page.evaluate("location.hash") == "#t=16")
        page.evaluate("location.hash = '#t=40'")
        page.wait_for_selector(".stp[data-step='40']")


def test_slider_and_mouse(browser: Any, exported: str) -> None:
    with opened(browser, exported) as page:
        page.locator(".stp-range").fill("100")
        assert step_of(page) == 100
        page.click(".stp-row[data-pc='24'] .stp-text")
        assert step_of(page) == 196
        page.click(".stp-row[data-pc='16'] .stp-bp")
        assert page.get_attribute(".stp-row[data-pc='16'] .stp-bp", "aria-pressed") == "true"
        page.click("[aria-label^='Previous breakpoint']")
        assert page.get_attribute(".stp", "data-pc") == "16"


def test_memory_goes_where_the_reader_asks(browser: Any, exported: str) -> None:
    with opened(browser, exported, 196) as page:
        page.fill(".stp-address", "page 4")
        page.keyboard.press("Enter")
        assert page.inner_text(".stp-bytes tbody th >> nth=0") == "arena+0x4000"
        assert page.inner_text(".stp-bytes tbody td >> nth=0") == "4e"
        page.keyboard.press("Home")
        assert "absent" in page.inner_text(".stp-where")
        page.fill(".stp-address", "nowhere")
        page.keyboard.press("Enter")
        assert page.get_attribute(".stp-address", "aria-invalid") == "true"


def test_play_stops_at_a_breakpoint(browser: Any, exported: str) -> None:
    with opened(browser, exported, 14) as page:
        page.keyboard.press("b")
        page.select_option(".stp-speed", "100")
        page.focus(".stp")
        page.keyboard.press("Space")
        page.wait_for_selector(".stp[data-step='23']")
        page.wait_for_timeout(150)
        assert step_of(page) == 23


def test_help_escape_and_announcements(browser: Any, exported: str) -> None:
    with opened(browser, exported) as page:
        page.keyboard.press("?")
        assert page.is_visible(".stp-help")
        page.keyboard.press("Escape")
        assert page.is_hidden(".stp-help")
        page.keyboard.press("ArrowRight")
        live = page.locator("[aria-live=polite]")
        wait_for(lambda: live.inner_text().startswith("step 1,"))
        assert "r9" in live.inner_text()
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement === document.body")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [480, 700, 900, 1200])
def test_nothing_overflows(
    browser: Any, exported: str, width: int, scheme: str, tmp_path: Path
) -> None:
    size = {"width": width, "height": 800}
    with opened(browser, exported, 17, viewport=size, color_scheme=scheme) as page:
        for step in ("9", "17", "193", "195"):
            page.evaluate(f"location.hash = '#t={step}'")
            page.wait_for_selector(f".stp[data-step='{step}']")
            assert page.evaluate(OVERFLOWING) == []
        page.evaluate("location.hash = '#t=18'")
        page.wait_for_selector(".stp[data-step='18']")
        keep(page, f"stepper-{scheme}-{width}", tmp_path)


def test_a_million_steps_open_and_move_at_once(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "long.html"
    path.write_text(to_html(long_run(1_000_000)))
    with watched(browser) as page:
        start = time.perf_counter()
        page.goto(f"{path.as_uri()}#t=500000")
        page.wait_for_selector(".stp[data-n='1000000']")
        seconds = time.perf_counter() - start
        forward, back = (page.evaluate(TIMED, key) for key in ("ArrowRight", "ArrowLeft"))
        print(f"opened in {seconds:.2f} s, one step {forward:.2f} ms forward, {back:.2f} ms back")
        assert step_of(page) == 500_000
        assert seconds <= 3
        assert max(forward, back) <= 5


def test_bytes_cut_short_say_so(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "cut.html"
    path.write_text(to_html(list_sum()[0][:-64]))
    with watched(browser) as page:
        page.goto(path.as_uri())
        assert "cut short: 64 bytes" in page.inner_text(".stp [role=alert], .stp[role=alert]")


def test_an_empty_run_says_why(browser: Any, tmp_path: Path) -> None:
    meta, columns = unpack(list_sum()[0])
    meta["stop"] = {"kind": "fault", "pc": 0, "reason": "R1 !read_ok", "r0": 0}
    steps = {name: column[:0] for name, column in columns.items()}
    path = tmp_path / "empty.html"
    path.write_text(to_html(pack(meta, steps)))
    with watched(browser) as page:
        page.goto(path.as_uri())
        page.wait_for_selector("text=No step was recorded: R1 !read_ok")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with serving(tmp_path_factory.mktemp("lab")) as server:
        yield server


# The app is ready when its notebook's kernel is: running before that opens "Select Kernel".
READY = """async () => {
  const app = window.jupyterapp;
  await app.restored;
  const panel = app.shell.currentWidget;
  await panel.context.ready;
  await panel.sessionContext.ready;
  await panel.sessionContext.session?.kernel?.info;
}"""
PYTHON = """async (code) => {
  const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;
  const future = kernel.requestExecute({ code });
  let text = "";
  future.onIOPub = ({ content }) => { text += content.text ?? content.evalue ?? ""; };
  await future.done;
  return text.trim();
}"""
CELLS = """() => window.jupyterapp.shell.currentWidget.content.widgets
  .map((cell) => cell.model.sharedModel.source)"""
THEME = "theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })"
DIRTY = "window.jupyterapp.shell.currentWidget.context.model.dirty"
# Colour of the square that marks the allocation at step 6, and what the theme says it should be.
STRIP_COLOUR = """() => {
  const canvas = document.querySelector(".stp-strip"), ratio = devicePixelRatio;
  const x = 1.5 + (6 / 196) * (canvas.clientWidth - 3);
  return [...canvas.getContext("2d").getImageData(x * ratio, 23 * ratio, 1, 1).data].slice(0, 3);
}"""
THEME_COLOUR = """() => {
  const css = getComputedStyle(document.querySelector(".stp-strip"));
  const pairs = css.getPropertyValue("--stp-alloc").trim().match(/[0-9a-f]{2}/g);
  return pairs.map((pair) => parseInt(pair, 16));
}"""
OTHER_KEYS = "x z y d d m v r 1 Shift+m Delete Enter Shift+Enter ArrowUp ArrowDown q h l"


@contextmanager
def run_notebook(browser: Any, lab: Lab, name: str, timeout: float) -> Iterator[Any]:
    """A notebook opened in JupyterLab, all its cells run, its stepper in view and focused."""
    with watched(browser, viewport={"width": 1400, "height": 1000}) as page:
        page.goto(f"{lab.url}/lab/tree/notebooks/{name}?token={lab.token}&reset")
        page.wait_for_function("window.jupyterapp?.shell?.currentWidget?.context", timeout=60_000)
        page.evaluate(READY)
        page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
        page.wait_for_selector(".stp[data-n]", timeout=1000 * timeout)
        page.locator(".stp").first.scroll_into_view_if_needed()
        page.focus(".stp")
        yield page


def check_keys_stay_inside(page: Any) -> None:
    """Keys, known to the stepper or not, leave the notebook's cells alone."""
    before = page.evaluate(CELLS)
    for key in f"a b {OTHER_KEYS} c f ArrowRight".split():
        page.keyboard.press(key)
    page.keyboard.press("b")
    assert page.evaluate(CELLS) == before
    assert page.evaluate("document.activeElement.classList.contains('stp')")


def write_notebook(path: Path, source: str) -> None:
    cell = nbformat.v4.new_code_cell(source)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel}), path)


def test_jupyterlab_stepper(browser: Any, lab: Lab, tmp_path: Path) -> None:
    write_notebook(lab.root / "notebooks" / "own.ipynb", OWN_NOTEBOOK)
    with run_notebook(browser, lab, "own.ipynb", timeout=60) as page:
        assert step_of(page) == 3
        for key in ("ArrowRight", "j", "j", "k"):
            page.keyboard.press(key)
        assert step_of(page) == 5
        for _ in range(60):  # echoes of earlier steps arrive meanwhile and must not win
            page.keyboard.press("ArrowRight")
        assert step_of(page) == 65
        wait_for(lambda: page.evaluate(PYTHON, "print(stepper.t)") == "65")
        check_keys_stay_inside(page)
        here = str(step_of(page))
        wait_for(lambda: page.evaluate(PYTHON, "print(stepper.t)") == here)
        page.evaluate(PYTHON, "stepper.t = 18; stepper.breakpoints = [16]")
        page.wait_for_selector(".stp[data-step='18']")
        page.wait_for_selector(".stp-row[data-pc='16'] [aria-pressed=true]")
        keep(page, "jupyterlab-light", tmp_path)
        page.evaluate(THEME, "JupyterLab Dark")
        page.wait_for_selector("body[data-jp-theme-light=false]", state="attached")
        wait_for(lambda: page.evaluate(STRIP_COLOUR) == page.evaluate(THEME_COLOUR))
        keep(page, "jupyterlab-dark", tmp_path)
        page.evaluate("window.jupyterapp.shell.currentWidget.context.model.dirty = true")
        page.keyboard.press("Control+s")
        wait_for(lambda: not page.evaluate(DIRTY))
        page.evaluate(THEME, "JupyterLab Light")
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.closest('.jp-Notebook') !== null")
        assert page.evaluate("document.activeElement.closest('.stp') === null")


@pytest.mark.skipif(not FIRST_NOTEBOOK.exists(), reason="no notebooks/00_sixty_seconds.ipynb yet")
def test_first_notebook_in_jupyterlab(browser: Any, lab: Lab, tmp_path: Path) -> None:
    shutil.copy(FIRST_NOTEBOOK, lab.root / "notebooks")
    with run_notebook(browser, lab, FIRST_NOTEBOOK.name, timeout=150) as page:
        page.keyboard.press("Home")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        assert step_of(page) == 2
        page.keyboard.press("f")
        assert "Fault: " in page.inner_text(".stp-say")
        page.keyboard.press("c")
        keep(page, "00_sixty_seconds", tmp_path)
        check_keys_stay_inside(page)


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Poll until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
