"""Exported pages in headless Chromium: layout, accessibility, long runs, and what is damaged."""

import base64
from pathlib import Path
from typing import Any

import pytest
from support.browser import keep, opened, step_of, wait_for, watched
from support.stepper_synthetic import list_sum, long_run

import workbench as wb
from workbench.recording.format import pack, unpack
from workbench.widgets.export import to_html

pytestmark = pytest.mark.browser

# Elements whose content is cut although nothing lets the reader scroll to it.
OVERFLOWING = """() => [document.documentElement,
    ...document.querySelectorAll(".stp, .stp-pane, .stp-bar")]
  .filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => e.className || e.tagName)"""


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


def key_press(browser: Any, steps: int, tmp_path: Path) -> float:
    """Milliseconds of a step forwards or back, the slower, in the midst of a long run."""
    path = tmp_path / f"{steps}.html"
    path.write_text(to_html(long_run(steps)))
    with watched(browser) as page:
        page.goto(f"{path.as_uri()}#t={steps // 2}")
        page.wait_for_selector(f".stp[data-n='{steps}']")
        times = [page.evaluate(TIMED, key) for key in ("ArrowRight", "ArrowLeft")]
        assert step_of(page) == steps // 2
    return max(times)


def test_a_million_steps_move_as_a_thousand_do(browser: Any, tmp_path: Path) -> None:
    """Keyframes: a step costs the same, however long the run is."""
    short, long = (key_press(browser, steps, tmp_path) for steps in (1_000, 1_000_000))
    assert long < 10 * max(short, 1), f"{short:.2f} ms, then {long:.2f} ms"


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
