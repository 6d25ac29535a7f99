"""The bytes of a recorded run: round trip, refusals, and what the browser gets to see of them."""

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support.paths import JAVASCRIPT
from support.stepper_synthetic import list_sum, meta

from workbench.bpf.isa import Op
from workbench.errors import TraceError
from workbench.recording.format import COLUMNS, STEP_COLUMNS, compress, pack, read_meta, unpack
from workbench.widgets import bundle
from workbench.widgets.export import to_html
from workbench.widgets.stepper import Stepper

FIXTURE = JAVASCRIPT / "list_sum.trace"
WIDE = 0xFFFF_FFFF_FFFF_FFFE


def one_step(**changes: object) -> dict[str, object]:
    columns: dict[str, object] = {name: [0] for name in STEP_COLUMNS}
    columns |= {"key_regs": np.zeros(88), "key_depth": [0]}
    return columns | changes


def test_round_trip_keeps_every_column_and_64_bit_number() -> None:
    payload = pack(meta(r0=WIDE), one_step(value=[WIDE], address=[WIDE]))
    back, columns = unpack(payload)
    assert set(columns) == set(COLUMNS)
    assert columns["value"][0] == columns["address"][0] == WIDE
    assert back["stop"]["r0"] == WIDE
    assert back["instructions"] == meta(0)["instructions"]
    assert read_meta(payload)[1] == 1


def test_columns_are_aligned_for_the_browsers_arrays() -> None:
    payload = pack(meta(0), one_step())
    length = int.from_bytes(payload[12:16], "little")
    header = json.loads(payload[16 : 16 + length])
    assert (16 + length) % 8 == 0
    assert all(offset % 8 == 0 for _, offset, _ in header["columns"].values())


def test_64_bit_numbers_are_strings_in_the_header() -> None:
    payload = pack(meta(r0=WIDE), one_step())
    header = payload[16 : 16 + int.from_bytes(payload[12:16], "little")].decode()
    assert f'"r0":"{WIDE}"' in header
    assert all(int(digits) < 2**53 for digits in re.findall(r"[:\[,](\d+)", header))


def test_compressed_bytes_open_too() -> None:
    payload, _ = list_sum()
    small = compress(payload)
    assert len(small) < len(payload) / 4
    assert compress(small) == small
    assert np.array_equal(unpack(small)[1]["value"], unpack(payload)[1]["value"])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p[:-100], "cut short: 100 bytes"),
        (lambda p: p[:12], "cut short"),
        (lambda p: p[:40], "cut short"),
        (lambda p: b"", "not a recorded run"),
        (lambda p: b"{}" + p, "not a recorded run"),
        (lambda p: p[:8] + b"\x09\0\0\0" + p[12:], "version 9"),
        (lambda p: p[:16] + b"?" + p[17:], "changed"),
        (lambda p: p[:-1] + bytes([p[-1] ^ 1]), "checksum"),
        (lambda p: compress(p)[:-50], "cut short"),
    ],
)
def test_damaged_bytes_are_refused_with_the_cause(damage: object, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        unpack(damage(list_sum()[0]))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pc": [0, 1]}, "depth has 1 elements, not 2"),
        ({"key_regs": []}, "key_depth"),
        ({"page_number": [3]}, "page_bytes"),
        ({"event_step": [0]}, "event_kind"),
        ({"nonsense": [0]}, "unknown"),
    ],
)
def test_unequal_columns_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        pack(meta(0), one_step(**changes))


def test_operations_travel_by_name() -> None:
    rows = [{**row, "op": Op[row["op"]].value} for row in meta(0)["instructions"]]
    back, _ = unpack(pack(meta(0) | {"instructions": rows}, one_step()))
    assert back["instructions"] == meta(0)["instructions"]


def test_an_empty_run_packs() -> None:
    _, columns = unpack(pack(meta(0), dict.fromkeys(STEP_COLUMNS, ())))
    assert columns["pc"].size == 0


def test_the_javascript_fixture_is_current() -> None:
    payload, _ = list_sum()
    assert payload == FIXTURE.read_bytes(), "run support.stepper_synthetic"


def test_the_modules_join_into_one(tmp_path: Path) -> None:
    text = bundle.module("page.js") + bundle.module("stepper.js")
    assert not re.findall(r"^import\b", text, re.MULTILINE)
    assert text.count("export ") == 1
    parts = [path.stem for path in (bundle.HERE / "js").glob("*.js")]
    assert {*re.findall(r"^const from_(\w+) = ", text, re.MULTILINE)} >= {*parts}


def test_the_joined_module_parses(tmp_path: Path, node: str) -> None:
    module = tmp_path / "stepper.mjs"
    module.write_text(bundle.module())
    subprocess.run([node, "--check", module], check=True)


@pytest.fixture
def node() -> str:
    import shutil

    return shutil.which("node") or pytest.skip("no Node.js on this machine")


def test_the_page_is_whole_and_asks_for_nothing() -> None:
    page = to_html(list_sum()[0], "a <b> & c")
    assert "<h1>a &lt;b&gt; &amp; c</h1>" in page
    assert "<main>" in page
    links = set(re.findall(r"\b(?:https?:)?//[\w.]+\.\w+/[^\s\"']*", page))
    assert links <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<(?:link|img|iframe)|src=|url\(", page)


def test_the_widget_refuses_a_step_outside_and_names_itself() -> None:
    stepper = Stepper(list_sum()[0], t=5, breakpoints=[16])
    assert repr(stepper) == "Stepper(list_sum, 197 steps, t=5)"
    stepper.t = 196
    for outside in (197, 10**9, -4):
        with pytest.raises(TraceError, match=f"no step {outside}; the view has 0 to 196"):
            stepper.t = outside
        assert stepper.t == 196
    assert stepper.breakpoints == [16]


def test_the_widget_refuses_other_bytes() -> None:
    with pytest.raises(TraceError, match="not a recorded run"):
        Stepper(b"PNG")
