"""What this kernel can do: facts read from it, and features probed by loading tiny programs."""

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from workbench.bpf.assembler import assemble
from workbench.engines.kernel.arena import KernelArena
from workbench.engines.kernel.loading import verdict
from workbench.errors import WorkbenchError

_ALLOC = "r1 = arena ll\nr2 = 0\nr3 = 1\nr4 = -1\nr5 = 0\ncall bpf_arena_alloc_pages"
_POINTER = "r1 = arena ll\nr2 = 1\nr1 = 0\nr1 = cast_kern(r1)"


class Probe(NamedTuple):
    """A feature: it exists when the kernel accepts `text` as a program of this type."""

    name: str
    meaning: str
    text: str
    type: str = "syscall"


PROBES = (
    Probe("arena", "programs can use arenas", "r1 = arena ll"),
    Probe("alloc_pages", "bpf_arena_alloc_pages, since 6.9", _ALLOC),
    Probe(
        "free_pages",
        "bpf_arena_free_pages, since 6.9",
        "r1 = arena ll\nr2 = 0\nr3 = 1\ncall bpf_arena_free_pages",
    ),
    Probe(
        "reserve_pages",
        "bpf_arena_reserve_pages, since about 6.17",
        "r1 = arena ll\nr2 = 0\nr3 = 1\ncall bpf_arena_reserve_pages",
    ),
    Probe(
        "alloc_in_any_program",
        "kfuncs in programs that cannot sleep, since about 7.0",
        _ALLOC,
        "socket_filter",
    ),
    Probe(
        "arena_atomics",
        "atomic add on an arena, since about 6.10",
        f"{_POINTER}\nlock *(u64 *)(r1 + 0) += r2",
    ),
    Probe(
        "arena_fetch_and",
        "atomic fetch-and on an arena, which the x86-64 JIT lacks",
        f"{_POINTER}\nr2 = atomic_fetch_and((u64 *)(r1 + 0), r2)",
    ),
    Probe(
        "arena_signed_loads",
        "sign-extending loads from an arena, since about 6.18",
        f"{_POINTER}\nr2 = *(s32 *)(r1 + 0)",
    ),
    Probe(
        "load_acquire",
        "acquire loads and release stores, since about 6.15",
        f"{_POINTER}\nr2 = load_acquire((u64 *)(r1 + 0))",
    ),
    Probe(
        "may_goto",
        "may_goto, since 6.9",
        "r1 = 0\nagain: may_goto done\nr1 += 1\ngoto again\ndone:",
    ),
    Probe(
        "cpu_v4",
        "signed division, moves and loads, bswap and gotol, since 6.6",
        "r1 = 9\nr2 = (s8)r1\nr1 s/= 3\nr1 = bswap32 r1\ngotol done\ndone:",
    ),
)


class Fact(NamedTuple):
    """Something known about this kernel; `detail` says what it means or why it is so."""

    value: bool | int | str
    detail: str


def kernel_facts() -> dict[str, Fact]:
    """Read what the kernel says of itself: release, JIT, restrictions, privileges."""
    return {
        "release": Fact(platform.release(), "kernel release"),
        "machine": Fact(platform.machine(), "processor architecture"),
        "processors": Fact(os.cpu_count() or 0, "processors"),
        "page_size": Fact(os.sysconf("SC_PAGE_SIZE"), "bytes per page"),
        "jit_enable": sysctl("net/core/bpf_jit_enable", "1: programs become machine code"),
        "jit_harden": sysctl("net/core/bpf_jit_harden", "0: constants are not blinded"),
        "unprivileged_bpf_disabled": sysctl(
            "kernel/unprivileged_bpf_disabled", "0: bpf(2) for everybody"
        ),
        "perf_event_paranoid": sysctl(
            "kernel/perf_event_paranoid", "1 or less: page faults may be recorded by everybody"
        ),
        "kptr_restrict": sysctl("kernel/kptr_restrict", "2 hides machine code even from root"),
        "lockdown": _lockdown(),
        "capabilities": Fact(", ".join(capabilities()) or "none", "those that matter for BPF"),
    }


def sysctl(path: str, meaning: str) -> Fact:
    """Read a number from /proc/sys; "unknown" with the reason where it cannot be read."""
    try:
        return Fact(int(Path("/proc/sys", path).read_text()), meaning)
    except (OSError, ValueError) as error:
        return Fact("unknown", f"{meaning} ({error})")


def _lockdown() -> Fact:
    try:
        text = Path("/sys/kernel/security/lockdown").read_text()
    except OSError:
        return Fact("unknown", "securityfs is not mounted, or lockdown is not built in")
    return Fact(text.partition("[")[2].partition("]")[0], "confidentiality hides kernel memory")


_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21, "CAP_PERFMON": 38, "CAP_BPF": 39}


def capabilities() -> list[str]:
    """Name the effective capabilities of this thread that matter for BPF."""
    try:
        status = Path("/proc/thread-self/status").read_text()
    except OSError:
        return []
    line = next((line for line in status.splitlines() if line.startswith("CapEff:")), "CapEff: 0")
    held = int(line.split()[1], 16)
    return [name for name, bit in _CAPABILITIES.items() if held >> bit & 1]


def probe_features() -> dict[str, Fact]:
    """Find out by trying which features this kernel has; False comes with the kernel's reason."""
    try:
        with KernelArena(pages=1) as arena:
            facts = {probe.name: _probe(probe, arena) for probe in PROBES}
            facts["presence"] = _tried(
                "absent pages are distinguished from present ones without faults",
                lambda: arena.present,
            )
            facts["free_extents"] = _tried(
                "the kernel's free ranges can be read", lambda: arena.free_extents
            )
            return facts
    except WorkbenchError as error:
        names = [probe.name for probe in PROBES] + ["presence", "free_extents"]
        return {name: Fact(False, str(error)) for name in names}


def _probe(probe: Probe, arena: KernelArena) -> Fact:
    """Load one probe, without running it."""
    try:
        program = assemble(f"{probe.text}\nr0 = 0\nexit", type=probe.type, name=probe.name)
        answer = verdict(program, arena)
    except WorkbenchError as error:
        return Fact(False, f"{probe.meaning}: {error}")
    return Fact(answer.ok, probe.meaning if answer.ok else f"{probe.meaning}: {answer.message()}")


def _tried(meaning: str, act: Callable[[], object]) -> Fact:
    try:
        act()
    except WorkbenchError as error:
        return Fact(False, f"{meaning}: {error}")
    return Fact(True, meaning)
