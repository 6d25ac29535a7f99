"""The stepper in JupyterLab, in headless Chromium: beside the notebook's own keys and kernel."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import pytest
from support.browser import keep, step_of, wait_for, watched
from support.lab_server import Lab, serving
from support.paths import ROOT

pytestmark = pytest.mark.browser

FIRST_NOTEBOOK = ROOT / "notebooks" / "00_sixty_seconds.ipynb"
OWN_NOTEBOOK = """\
from ipywidgets import jslink
from support.stepper_synthetic import list_sum
from workbench.widgets.stepper import PageMap, Stepper
import workbench as wb
text = "r1 = 0\\nagain: r1 += 1\\nif r1 != 5 goto again\\nr0 = r1\\nexit"
loop = wb.record(wb.assemble(text, name="loop")).stepper()
stepper = Stepper(list_sum()[0], t=3)
pages = PageMap(list_sum()[0], t=3)
link = jslink((stepper, "t"), (pages, "t"))
display(stepper, pages, loop)
"""


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
# The kernel works on until the notebook's folder holds a file called "enough".
BUSY = """() => {
  const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;
  const code = "import pathlib, time\\nwhile not pathlib.Path('enough').exists(): time.sleep(0.05)";
  kernel.requestExecute({ code });
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
  return [...canvas.getContext("2d").getImageData(x * ratio, 33 * ratio, 1, 1).data].slice(0, 3);
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


@contextmanager
def busy_kernel(page: Any, lab: Lab) -> Iterator[None]:
    """What happens inside happens without Python: the kernel is busy until the end."""
    page.evaluate(BUSY)
    yield
    (lab.root / "notebooks" / "enough").touch()
    page.evaluate(PYTHON, "pathlib.Path('enough').unlink()")


def check_what_if(page: Any, lab: Lab, tmp_path: Path) -> None:
    """A value changed with the keyboard: both runs in view, and moving together without Python."""
    first, second = (page.locator(f".stp[aria-label^='Stepper: loop'] >> nth={n}") for n in (0, 1))
    first.focus()
    for key in ("Home", "ArrowRight", "ArrowRight", "e"):
        page.keyboard.press(key)
    first.locator(".stp-what-if").fill("r1 = 4")
    page.keyboard.press("Enter")
    second.wait_for()
    wait_for(lambda: page.evaluate(PYTHON, "print(loop.forked)") != "None")
    assert "With r1 = 4: exit" in first.locator("[aria-label='What if'] [role=status]").inner_text()
    with busy_kernel(page, lab):
        first.focus()
        page.keyboard.press("d")
        page.keyboard.press("ArrowLeft")
        step = first.get_attribute("data-step")
        assert second.get_attribute("data-step") == step
        assert [view.locator(".stp-of-difference").is_visible() for view in (first, second)] == [
            True
        ] * 2
        keep(page, "what-if", tmp_path)
        second.focus()
        page.keyboard.press("End")
        assert first.get_attribute("data-pc") == second.get_attribute("data-pc")
    page.evaluate(PYTHON, "loop.what_if = ''")
    second.wait_for(state="detached")
    page.locator(".stp").first.focus()


def write_notebook(path: Path, source: str) -> None:
    cell = nbformat.v4.new_code_cell(source)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel}), path)


def test_jupyterlab_stepper(browser: Any, lab: Lab, tmp_path: Path) -> None:
    write_notebook(lab.root / "notebooks" / "own.ipynb", OWN_NOTEBOOK)
    with run_notebook(browser, lab, "own.ipynb", timeout=150) as page:
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
        page.wait_for_selector(".stp:has(> .stp-pages)[data-step='18']")
        with busy_kernel(page, lab):
            page.keyboard.press("ArrowRight")
            page.wait_for_selector(".stp:has(> .stp-pages)[data-step='19']")
        page.keyboard.press("ArrowLeft")
        page.evaluate(PYTHON, "stepper.selection = 'r2'")
        page.wait_for_selector(".stp-regs tr.stp-picked")
        page.keyboard.press("3")
        wait_for(lambda: page.evaluate(PYTHON, "print(stepper.selection)") == "r3")
        page.wait_for_selector(".stp[data-step='18']")
        page.wait_for_selector(".stp-row[data-pc='16'] [aria-pressed=true]")
        keep(page, "jupyterlab-light", tmp_path)
        check_what_if(page, lab, tmp_path)
        page.evaluate(THEME, "JupyterLab Dark")
        page.wait_for_selector("body[data-jp-theme-light=false]", state="attached")
        wait_for(lambda: page.evaluate(STRIP_COLOUR) == page.evaluate(THEME_COLOUR))
        keep(page, "jupyterlab-dark", tmp_path)
        page.evaluate("window.jupyterapp.shell.currentWidget.context.model.dirty = true")
        page.keyboard.press("Control+s")
        wait_for(lambda: not page.evaluate(DIRTY))
        page.evaluate(THEME, "JupyterLab Light")
        page.wait_for_selector("body[data-jp-theme-light=true]", state="attached")
        page.locator(".stp").first.focus()
        page.keyboard.press("Escape")
        wait_for(lambda: page.evaluate("document.activeElement.closest('.jp-Notebook') !== null"))
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
