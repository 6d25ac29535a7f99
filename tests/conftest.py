"""What every test shares: counts for CI and `make deep`, the browser, and the kernel's tests."""

import functools
import os
import shutil
import signal
import time
from collections.abc import Callable
from importlib.util import find_spec

import pytest
from hypothesis import settings
from support.bpf_probe import refusal
from support.compilers import NO_SYSTEM, NO_ZIG, ZIG

DEEP = os.environ.get("WORKBENCH_DEEP") == "1"
REQUIRE_KERNEL = os.environ.get("WORKBENCH_REQUIRE_KERNEL") == "auto"

settings.register_profile("ci", deadline=None, derandomize=True)
settings.register_profile("deep", deadline=None, max_examples=10_000)
settings.load_profile("deep" if DEEP else "ci")

NOTES: list[str] = []
KERNEL_PASSED: list[str] = []
KERNEL_SKIPPED: list[str] = []


def pytest_configure() -> None:
    """Let tests of Ctrl-C work in a job in the background: a shell has those ignore the signal."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def scale() -> Callable[[int, int], int]:
    """Choose a count: `scale(ci, deep)` is `deep` in `make deep` and `ci` everywhere else."""
    return lambda ci, deep: deep if DEEP else ci


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium-like browser; skips the test where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")


@pytest.fixture(params=["system", "zig"])
def each_compiler(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The system's clang, then zig's; skips the one that is not there."""
    from workbench.objects import compiler

    if request.param == "zig":
        if find_spec("ziglang") is None:
            pytest.skip(NO_ZIG)
        monkeypatch.setenv("WORKBENCH_CC", ZIG)
    else:
        monkeypatch.delenv("WORKBENCH_CC", raising=False)
        if compiler._system_clang() is None:
            pytest.skip(NO_SYSTEM)
    return str(request.param)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what has a larger form as `deep`; a test marked so by hand runs in `make deep` alone."""
    for item in items:
        scales = "scale" in getattr(item, "fixturenames", ())
        if item.get_closest_marker("deep") and not scales and not DEEP:
            item.add_marker(pytest.mark.skip(reason="large: runs in `make deep`"))
        if scales or getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker("deep")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fill the compilation cache before the first test that starts other processes."""
    if item.path.suffix == ".ipynb" or item.get_closest_marker("browser"):
        warm_cache()


@functools.cache
def warm_cache() -> None:
    """Compile every form of the interpreter, or load it, so that new processes find it cached."""
    start = time.perf_counter()
    try:
        import workbench as wb

        program = wb.assemble("r0 = 0\nexit\n")
        with wb.Arena(pages=1) as arena, wb.Interpreter(program, arena=arena) as engine:
            for trace in (None, "counts", "events", "steps"):
                engine.run(trace=trace)
    except Exception as error:  # the tests of the interpreter say what is wrong with it
        NOTES.append(f"the compilation cache could not be warmed: {error!r}")
    else:
        NOTES.append(f"compilation cache warmed in {time.perf_counter() - start:.1f} s")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> object:
    """Keep count of the kernel's tests."""
    report = yield
    if item.get_closest_marker("kernel"):
        if report.skipped and not hasattr(report, "wasxfail"):
            KERNEL_SKIPPED.append(item.nodeid)
        elif report.when == "call" and report.passed:
            KERNEL_PASSED.append(item.nodeid)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that left out the kernel on a machine whose kernel would have answered."""
    if not REQUIRE_KERNEL:
        return
    if reason := refusal():
        NOTES.append(f"kernel tests not required: {reason}")
    elif KERNEL_SKIPPED or not KERNEL_PASSED:
        which = ", ".join(KERNEL_SKIPPED) or "none was collected"
        NOTES.append(f"FAILED: bpf(2) works here, yet kernel tests did not run: {which}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    else:
        NOTES.append(f"kernel tests: {len(KERNEL_PASSED)} passed, none skipped")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the hooks above had to say."""
    for note in NOTES:
        terminalreporter.write_line(note)
