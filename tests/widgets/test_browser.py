"""The stepper in headless Chromium: as an exported page, and in JupyterLab.

Set WORKBENCH_SCREENSHOTS to a folder to keep the screenshots; else they go to pytest's tmp_path.
"""

import base64
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
from support.lab_server import Lab, serving
from support.paths import ROOT
from support.stepper_synthetic import list_sum, long_run

import workbench as wb
from workbench.recording.format import pack, unpack
from workbench.widgets.export import to_html

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
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
    (14, "Shift+ArrowRight", 17),
    (17, "Shift+ArrowLeft", 14),
    (15, "u", 17),
    (16, "U", 14),
    (0, "l l", 10),
    (17, "L", 15),
    (17, "w Home n n N", 17),
    (9, "m Home n", 9),
    (17, "s [", 6),
    (17, "s ]", 26),
    (100, "9 [", 1),
    (5, "x z y d d v q Delete Enter", 5),
    (5, "Control+f Alt+ArrowLeft Meta+c", 5),
]


def test_keys_move_through_the_run(browser: Any, exported: str) -> None:
    """In one page, opened anew for each row: a browser's page costs more than what it shows."""
    with watched(browser) as page:
        for start, keys, end in KEYS:
            page.goto("about:blank")
            page.goto(f"{exported}#t={start}")
            page.wait_for_selector(f".stp[data-step='{start}']")
            page.focus(".stp")
            for key in keys.split():
                page.keyboard.press(key)
            assert step_of(page) == end, (start, keys)


def test_a_step_is_shown_everywhere(browser: Any, exported: str) -> None:
    with opened(browser, exported, 15) as page:
        assert page.get_attribute(".stp", "data-pc") == "25"
        assert page.get_attribute(".stp", "data-n") == "197"
        assert page.inner_text(".stp-row.stp-now .stp-text") == "r0 += r2"
        assert page.inner_text(".stp-regs tr.stp-written").split() == [
            *("RW", "r0", "0x0", "→", "0x1", "(+1)")
        ]
        assert page.inner_text(".stp-regs tr.stp-read:not(.stp-written)").split() == [
            *("R", "r2", "0x1")
        ]
        assert "r0 = 0 + 1 = 1." in page.inner_text(".stp-say")
        assert page.inner_text(".stp-frames") == "frame 0 at 16 › frame 1"
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        written = page.locator(".stp-bytes td.stp-written").all_inner_texts()
        assert written == ["01", *["00"] * 7]
        page.keyboard.press("ArrowLeft")
        page.click(".stp-frames button")
        assert step_of(page) == 14
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


def test_why_leads_back_through_memory(browser: Any, exported: str) -> None:
    with opened(browser, exported, 196) as page:
        page.click(".stp-regs tbody tr >> nth=8")
        chain = page.locator(".stp-chain .stp-link")
        assert "bpf_arena_alloc_pages" in chain.first.inner_text()
        assert "touched 20 times" in page.inner_text(".stp-why-page")
        chain.first.click()
        assert step_of(page) == 6
        assert page.get_attribute(".stp-chain li", "class") == "stp-here"
        page.keyboard.press("End")
        page.fill(".stp-address", "page 4")
        page.keyboard.press("Enter")
        page.click(".stp-bytes tbody td >> nth=2")  # selects all that was stored with that byte
        assert page.locator(".stp-bytes td.stp-picked").count() == 8
        assert page.locator(".stp-chain .stp-what").all_inner_texts() == [
            "*(u64 *)(r7 + 0) = r0",
            "r0 += r2",
        ]
        page.click(".stp-chain .stp-ask >> text=r2?")
        assert "← arena+0x13d8" in page.inner_text(".stp-chain")


def test_a_stop_is_a_line_of_text(browser: Any, exported: str) -> None:
    with opened(browser, exported) as page:
        page.click(".stp-tab >> text=Breakpoints")
        for text in ("r0 > 100 && r0 < 999", "touch page 6", "frob"):
            page.fill(".stp-stop-text", text)
            page.keyboard.press("Enter")
        rows = page.locator(".stp-stops li").all_inner_texts()
        assert ["1 hit" in rows[0], "2 hits" in rows[1], "'frob' is not known" in rows[2]] == [
            *[True] * 3
        ]
        page.keyboard.press("n")
        assert "0x75" in page.inner_text(".stp-regs tr.stp-written")
        page.keyboard.press("n")
        assert step_of(page) == 192
        page.click("[aria-label='Remove touch page 6']")
        page.keyboard.press("N")
        page.keyboard.press("n")
        assert page.locator(".stp-stops li").count() == 2


MAP_COLOURS = """() => {
  const canvas = document.querySelector(".stp-map"), ratio = devicePixelRatio;
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, 16 * ratio);
  const seen = new Set();
  for (let i = 0; i < data.length; i += 4) seen.add(data.slice(i, i + 3).join());
  return [...seen];
}"""


def test_page_map(browser: Any, exported: str, tmp_path: Path) -> None:
    with opened(browser, exported, 0) as page:
        page.click(".stp-tab >> text=Pages")
        described = page.locator(".stp-map")
        wait_for(lambda: "before the run" in (described.get_attribute("aria-label") or ""))
        assert "allocated" not in described.get_attribute("aria-label")
        before = page.evaluate(MAP_COLOURS)
        page.focus(".stp")
        page.keyboard.press("a")
        wait_for(lambda: "1 allocated" in described.get_attribute("aria-label"))
        assert set(page.evaluate(MAP_COLOURS)) - set(before)
        for _ in range(5):
            page.click("[aria-label='Next page in use']")
        text = page.inner_text(".stp-map-text")
        assert "allocated by the program at step 6 by instruction 8" in text or "page 5" in text
        page.select_option("[aria-label=Show]", "all 4 GiB")
        keep(page, "page-map", tmp_path)


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
        live = page.locator(".stp-hidden[aria-live=polite]")
        wait_for(lambda: live.inner_text().startswith("step 1,"))
        assert "r9" in live.inner_text()
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement === document.body")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_overflows(browser: Any, exported: str, scheme: str, tmp_path: Path) -> None:
    with opened(browser, exported, 17, color_scheme=scheme) as page:
        for width in (480, 700, 960, 1200, 1900):
            page.set_viewport_size({"width": width, "height": 800})
            for step in ("9", "17", "193", "195", "18"):
                page.evaluate(f"location.hash = '#t={step}'")
                page.wait_for_selector(f".stp[data-step='{step}']")
                assert page.evaluate(OVERFLOWING) == [], (width, step)
            keep(page, f"stepper-{scheme}-{width}", tmp_path)


def test_what_a_tab_shows_moves_nothing_below(browser: Any, exported: str) -> None:
    with opened(browser, exported, 17, viewport={"width": 1200, "height": 900}) as page:
        heights = set()
        for tab in ("Structures", "Graph", "Memory", "Findings", "What if", "Why"):
            page.click(f".stp-tab >> text={tab}")
            heights.add(page.locator(".stp").bounding_box()["height"])
        assert max(heights) - min(heights) < 2, heights


def test_a_page_says_how_python_answers_what_if(browser: Any, exported: str) -> None:
    with opened(browser, exported, 17) as page:
        for text, answer in (
            ("r3 = 18446744073709551615", "trace.fork(17, registers={3: 18446744073709551615})"),
            ("arena+0x1000:2 = -1", ': (65535).to_bytes(2, "little")})'),
            ("r3 == 4", "'r3 == 4' is no change"),
        ):
            page.keyboard.press("e")
            page.fill(".stp-what-if", text)
            page.keyboard.press("Enter")
            assert answer in page.inner_text("[aria-label='What if'] [role=status]")


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
        assert seconds <= 9  # the aim is 3 s, and 5 ms for a step; this machine may be busy
        assert max(forward, back) <= 15


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(browser: Any, exported: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    with opened(browser, exported, 193, color_scheme=scheme) as page:
        for tab in ("Structures", "Graph", "Pages", "Breakpoints", "Findings", "Memory"):
            page.click(f".stp-tab >> text={tab}")
        page.keyboard.press("3")
        found = axe.run(page)
        assert found.violations_count == 0, found.generate_report()
        for tab in ("Structures", "Graph", "Pages"):
            page.click(f".stp-tab >> text={tab}")
            page.wait_for_timeout(60)
            found = axe.run(page)
            assert found.violations_count == 0, found.generate_report()
        page.keyboard.press("b")
        page.click(".stp-tab >> text=Breakpoints")
        page.keyboard.press("?")
        found = axe.run(page)
        assert found.violations_count == 0, found.generate_report()


def test_a_trace_shows_itself_without_python(browser: Any, tmp_path: Path) -> None:
    trace = wb.record(wb.assemble("r0 = 1\nr0 += 2\nexit", name="three"))
    shown = trace._repr_mimebundle_()
    assert base64.b64decode(shown["image/png"]).startswith(b"\x89PNG")
    path = tmp_path / "cell.html"
    path.write_text(f"<!doctype html><body>{shown['text/html']}</body>")
    with watched(browser) as page:
        page.goto(path.as_uri())
        frame = page.frame_locator("iframe")
        frame.locator(".stp[data-n='3']").focus()
        page.keyboard.press("End")
        assert "returns r0 = 3" in frame.locator(".stp-say").inner_text()


def test_the_address_carries_step_selection_and_stops(browser: Any, exported: str) -> None:
    with watched(browser) as page:
        page.goto(f"{exported}#t=196&select=r8&stop=16&stop=touch+page+6")
        page.wait_for_selector(".stp[data-step='196']")
        assert "bpf_arena_alloc_pages" in page.inner_text(".stp-chain")
        page.focus(".stp")
        page.keyboard.press("N")
        assert step_of(page) == 193
        page.keyboard.press("m")
        wait_for(lambda: "stop=step+193" in page.evaluate("location.hash"))


def test_two_runs_in_one_page_move_together(browser: Any, tmp_path: Path) -> None:
    text = "r1 = 0\nagain: r1 += 1\nif r1 s< 5 goto again\nr0 = r1\nexit"
    trace = wb.record(wb.assemble(text, name="loop"))
    view = trace.beside(trace.fork(4, registers={1: 9}))
    view.t, view.breakpoints, view.selection = 3, ["r1 s< 0", 2], "r1"
    path = tmp_path / "two.html"
    view.to_html(path, "</script> & two")
    with watched(browser) as page:
        page.goto(path.as_uri())
        page.wait_for_selector(".stp[data-step='3'] .stp-chain")
        assert page.inner_text("h1") == "</script> & two"
        assert page.locator(".stp").count() == 2
        page.locator(".stp").first.focus()
        page.keyboard.press("d")
        steps = page.locator(".stp").evaluate_all("(all) => all.map((one) => one.dataset.step)")
        assert steps == ["5", "5"]
        below = page.locator(".stp").nth(1).locator(".stp-regs")
        assert "0x9" in below.inner_text()
        page.keyboard.press("n")
        assert step_of(page) == 6
        keep(page, "two_runs", tmp_path)


def test_a_long_program_is_drawn_where_it_is_looked_at(browser: Any, tmp_path: Path) -> None:
    program = wb.assemble("r0 = 0\n" + "r0 += 1\n" * 20_000 + "exit", name="long")
    path = tmp_path / "long_program.html"
    wb.record(program, verify=False).to_html(path)
    with watched(browser) as page:
        page.goto(f"{path.as_uri()}#t=12345")
        page.wait_for_selector(".stp[data-step='12345']")
        assert page.locator(".stp-row").count() < 500
        assert page.inner_text(".stp-row.stp-now .stp-pc") == "12345"
        page.focus(".stp")
        page.keyboard.press("b")
        page.keyboard.press("Home")
        assert page.inner_text(".stp-row.stp-now .stp-text") == "r0 = 0"
        page.keyboard.press("n")
        page.wait_for_selector(".stp-row.stp-now [aria-pressed=true]")
        page.locator(".stp-list").evaluate("(list) => { list.scrollTop = list.scrollHeight; }")
        page.click(".stp-row[data-pc='20001'] .stp-text")
        assert step_of(page) == 20_001


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
BUSY = """() => {
  const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;
  kernel.requestExecute({ code: "import time; time.sleep(4); print('woke')" });
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


def check_what_if(page: Any, tmp_path: Path) -> None:
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
    page.evaluate(BUSY)
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
        page.evaluate(BUSY)
        page.keyboard.press("ArrowRight")
        page.wait_for_selector(".stp:has(> .stp-pages)[data-step='19']", timeout=3500)
        page.keyboard.press("ArrowLeft")
        page.evaluate(PYTHON, "stepper.selection = 'r2'")  # waits for the kernel
        page.wait_for_selector(".stp-regs tr.stp-picked")
        page.keyboard.press("3")
        wait_for(lambda: page.evaluate(PYTHON, "print(stepper.selection)") == "r3")
        page.wait_for_selector(".stp[data-step='18']")
        page.wait_for_selector(".stp-row[data-pc='16'] [aria-pressed=true]")
        keep(page, "jupyterlab-light", tmp_path)
        check_what_if(page, tmp_path)
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


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Poll until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
