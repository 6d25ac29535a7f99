"""The stepper in headless Chromium: keys, mouse, memory, stops, and the tabs beside it."""

from pathlib import Path
from typing import Any

import pytest
from support.browser import keep, opened, step_of, wait_for, watched

pytestmark = pytest.mark.browser

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
