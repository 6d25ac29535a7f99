"""What works on this machine, and what to do about what does not: one row per check."""

import platform
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata, util
from pathlib import Path

from workbench.errors import WorkbenchError

AS_ROOT = "run as root, or with CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN"
NEWER = "boot a newer kernel; the emulated arena has everything"


@dataclass(frozen=True)
class Check:
    """One thing that was tried: does it work, what was seen, and what to do if not ("" if fine)."""

    name: str
    ok: bool
    detail: str
    cure: str = ""


def doctor() -> list[Check]:
    """Try everything that depends on the machine; plain values, in the order of the report.

    Where a library that everything needs is missing, what lies above it is not tried.
    """
    checks = [*_python(), *_libraries(), *_compilers()]
    if all(_version(name) for name in _NEEDED):
        checks += [_cache(), *_kernel(), *_features()]
    return checks


def to_json(checks: list[Check]) -> list[dict[str, object]]:
    """The checks as JSON values."""
    return [asdict(check) for check in checks]


def report(checks: list[Check]) -> str:
    """The checks as text for a terminal, a cure below each thing that does not work."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        lines.append(f"{'ok ' if check.ok else 'no '} {check.name:<{width}}  {check.detail}")
        if not check.ok and check.cure:
            lines.append(f"    {'':<{width}}  -> {check.cure}")
    return "\n".join(lines)


def _try(name: str, act: Callable[[], object], cure: str, detail: str = "works") -> Check:
    """Do something that raises WorkbenchError or OSError where it does not work."""
    try:
        act()
    except (WorkbenchError, OSError) as error:
        return Check(name, False, str(error), cure)
    return Check(name, True, detail)


def _python() -> Iterator[Check]:
    """The interpreter and this package."""
    version = platform.python_version()
    yield Check(
        "python",
        sys.version_info >= (3, 11),
        f"{version} at {sys.executable}",
        "" if sys.version_info >= (3, 11) else "use Python 3.11 or newer",
    )
    yield _package()


def _package() -> Check:
    """Is the `workbench` that Python finds this one? Another package has the name, too."""
    here = Path(__file__).resolve().parents[1]
    found = util.find_spec("workbench")
    origin = Path(found.origin).resolve().parent if found and found.origin else None
    if origin == here:
        return Check("package", True, f"workbench at {here}")
    return Check(
        "package",
        False,
        f"`import workbench` finds {origin}, not {here}",
        "pip uninstall workbench; pip install bpf-arena-workbench",
    )


def _cache() -> Check:
    """Can compiled code be kept?"""
    from workbench.compiled.cache import cache_directory

    directory = cache_directory()
    cure = "set WORKBENCH_CACHE to a directory that only you may write"
    if directory is None:
        return Check("compilation cache", False, "you have no home directory", cure)
    return _try("compilation cache", lambda: _write_in(directory), cure, str(directory))


def _write_in(directory: Path) -> None:
    from workbench.compiled.kept import FOLDER
    from workbench.compiled.trust import distrust

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it would say stands in the report
        there = FOLDER.path is not None or directory.is_dir()
    if there and (why := distrust(directory)):
        raise WorkbenchError(why)
    tempfile.TemporaryFile(dir=directory).close()


_NEEDED = {
    "numba": "the interpreter is compiled with it",
    "llvmlite": "the just-in-time engine uses it",
    "numpy": "",
    "pandas": "",
    "matplotlib": "",
    "anywidget": "the stepper is one",
}
_OPTIONAL = {
    "capstone": "machine code cannot be disassembled",
    "ziglang": "C is compiled by clang alone",
}


def _libraries() -> Iterator[Check]:
    """Libraries by version, without importing them."""
    for name, use in _NEEDED.items():
        version = _version(name)
        yield Check(
            name,
            bool(version),
            version or f"missing; {use}".rstrip("; "),
            "" if version else "pip install bpf-arena-workbench",
        )
    for name, without in _OPTIONAL.items():
        version = _version(name)
        yield Check(
            name,
            bool(version),
            version or f"missing, so {without}",
            "" if version else f"pip install {name}",
        )


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _compilers() -> Iterator[Check]:
    """Compilers that can turn C into BPF objects."""
    clang = shutil.which("clang")
    targets = _output([clang, "--print-targets"]) if clang else ""
    detail = f"{clang}, {'with' if 'bpf' in targets else 'without'} a BPF target" if clang else ""
    yield Check(
        "clang",
        "bpf" in targets,
        detail or "not found",
        "" if "bpf" in targets else "install clang (Debian: apt-get install clang), or use zig",
    )
    zig = shutil.which("zig") or ("python -m ziglang" if util.find_spec("ziglang") else "")
    yield Check("zig", bool(zig), zig or "not found", "" if zig else "pip install ziglang")


def _output(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _kernel() -> Iterator[Check]:
    """Is the kernel willing: bpf(2), arenas, kfuncs, perf, BTF."""
    from workbench.engines.kernel import kernel_facts

    facts = kernel_facts()
    yield Check(
        "linux",
        platform.system() == "Linux",
        f"{facts['release'].value} on {facts['machine'].value}",
        ""
        if platform.system() == "Linux"
        else "the kernel engine needs Linux; everything else works here",
    )
    held = str(facts["capabilities"].value)
    enough = "CAP_SYS_ADMIN" in held or ("CAP_BPF" in held and "CAP_PERFMON" in held)
    yield Check("capabilities", enough, held, "" if enough else AS_ROOT)
    unprivileged = facts["unprivileged_bpf_disabled"]
    yield Check(
        "unprivileged bpf",
        enough or unprivileged.value == 0,
        f"kernel.unprivileged_bpf_disabled={unprivileged.value}",
        "" if enough else AS_ROOT,
    )
    jit = facts["jit_enable"].value
    yield Check(
        "jit",
        jit in (1, 2),
        f"net.core.bpf_jit_enable={jit}, hardening {facts['jit_harden'].value}",
        "" if jit in (1, 2) else "sysctl net.core.bpf_jit_enable=1",
    )
    yield from _system_calls(str(facts["perf_event_paranoid"].value))


def _system_calls(paranoid: str) -> Iterator[Check]:
    """Try bpf(2) and perf_event_open(2) themselves."""
    from workbench.arena import ArenaFlags
    from workbench.engines.kernel import KernelArena, PageFaults, kfunc_id

    yield _try(
        "bpf(2) and arena map",
        lambda: KernelArena(1).close(),
        f"{AS_ROOT}; arenas came with Linux 6.9 and need a JIT",
        "an arena of one page was created and mapped",
    )
    yield _try(
        "NO_USER_CONV",
        lambda: KernelArena(1, ArenaFlags.NO_USER_CONV).close(),
        NEWER,
        "an arena without pointer conversion was created",
    )
    yield _try(
        "kernel BTF",
        lambda: kfunc_id("bpf_arena_alloc_pages"),
        "boot a kernel built with CONFIG_DEBUG_INFO_BTF",
        "/sys/kernel/btf/vmlinux",
    )
    yield _try(
        "page-fault events",
        lambda: PageFaults(1).close(),
        "run as root, with CAP_PERFMON, or set kernel.perf_event_paranoid=1",
        f"kernel.perf_event_paranoid={paranoid}",
    )


def _features() -> Iterator[Check]:
    """What this kernel's arenas can do, found by trying."""
    from workbench.engines.kernel import probe_features

    for name, fact in probe_features().items():
        yield Check(f"kernel: {name}", bool(fact.value), fact.detail, "" if fact.value else NEWER)
