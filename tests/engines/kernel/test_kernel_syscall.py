"""The bpf(2) layer: structures, errors, logs that are never cut, descriptors that close."""

import ctypes
import errno
import gc
import os

import pytest
from support.kernel_support import KERNEL, held

from workbench.bpf.assembler import assemble
from workbench.engines.kernel import attributes, btf, memory, perf, syscall
from workbench.engines.kernel.loading import read_log, verdict
from workbench.engines.kernel.service import bind
from workbench.errors import KernelError, SegmentationFault, Unsupported, VerificationError
from workbench.objects.btf import Kind

pytestmark = KERNEL

SYSCALL, SLEEPABLE = 31, 16
ARENA, MMAPABLE = 33, 1 << 10


@pytest.mark.parametrize(
    ("structure", "size"),
    [
        (attributes.MapCreate, 72),
        (attributes.MapFd, 4),
        (attributes.ProgLoad, 152),
        (attributes.TestRun, 80),
        (attributes.ObjectInfo, 16),
        (attributes.BtfLoad, 32),
        (attributes.EnableStats, 4),
        (attributes.ProgInfo, 232),
    ],
)
def test_structures_have_the_size_of_the_kernels(structure: type, size: int) -> None:
    assert ctypes.sizeof(structure) == size


@pytest.mark.parametrize(
    ("member", "offset"),
    [
        ("log_buf", 32),
        ("prog_btf_fd", 72),
        ("fd_array", 120),
        ("log_true_size", 140),
    ],
)
def test_load_members_lie_where_the_kernel_reads_them(member: str, offset: int) -> None:
    assert getattr(attributes.ProgLoad, member).offset == offset


@pytest.mark.parametrize(
    ("structure", "name"),
    [
        (attributes.ProgInfo, "bpf_prog_info"),
        (perf.Attributes, "perf_event_attr"),
    ],
)
def test_structures_have_the_layout_of_the_kernels(structure: type, name: str) -> None:
    kernel = btf.members(name)
    ours = {field: getattr(structure, field).offset for field, *_ in structure._fields_}
    shared = ours.keys() & kernel.keys()
    assert len(shared) > len(ours) / 2  # the others lie in anonymous unions there
    assert {field: ours[field] for field in shared} == {f: kernel[f][0] for f in shared}


@pytest.mark.parametrize(
    ("pages", "flags", "extra", "name"),
    [
        (0, MMAPABLE, 0, "EINVAL"),
        (1, 0, 0, "EINVAL"),
        (1 << 20 | 1, MMAPABLE, 0, "E2BIG"),
        (2, MMAPABLE, (1 << 32) - 4096, "ERANGE"),
        (1, MMAPABLE, 5, "EINVAL"),
    ],
)
def test_map_errors_have_names(pages: int, flags: int, extra: int, name: str) -> None:
    before = held()
    with pytest.raises(KernelError) as caught:
        syscall.create_map(ARENA, 0, 0, pages, flags, extra)
    assert caught.value.errno_name == name
    assert held() == before


def test_descriptor_closes_once() -> None:
    before = held()
    descriptor = syscall.create_map(ARENA, 0, 0, 1, MMAPABLE, 1 << 44)
    assert descriptor.fileno() >= 0
    assert not descriptor.closed
    descriptor.close()
    descriptor.close()
    assert descriptor.closed
    with pytest.raises(KernelError, match="EBADF"):
        descriptor.fileno()
    assert held() == before


def test_descriptor_closes_when_nobody_holds_it() -> None:
    before = held()
    _ = syscall.create_map(ARENA, 0, 0, 1, MMAPABLE, 1 << 44)
    del _
    gc.collect()
    assert held() == before


def test_freeze_of_an_unmapped_arena() -> None:
    with syscall.create_map(ARENA, 0, 0, 1, MMAPABLE, 1 << 44) as arena:
        syscall.freeze_map(arena.fileno())
        with pytest.raises(KernelError, match="EPERM"):
            memory.map_memory(arena.fileno(), 1 << 44, 4096)


def noisy(rounds: int, ending: str) -> bytes:
    text = ["r1 = 0", "r0 = 0", "again:", "r1 += 1", f"if r1 < {rounds} goto again", ending]
    return bind(assemble("\n".join(text)), {})


@pytest.mark.parametrize("rounds", [10, 2_000, 20_000])
def test_a_log_is_never_cut_short(rounds: int) -> None:
    loaded = syscall.load_program(SYSCALL, noisy(rounds, "exit"), flags=SLEEPABLE, log_level=2)
    assert loaded.errno == 0
    assert loaded.descriptor is not None
    loaded.descriptor.close()
    lines = loaded.log.splitlines()
    assert lines[0].startswith("func#0")
    assert lines[-1].startswith("processed")
    assert len(lines) > 2 * rounds


def test_the_log_of_a_refusal_is_whole_too() -> None:
    text = noisy(5_000, "r0 = *(u64 *)(r5 + 0)\nexit")
    loaded = syscall.load_program(SYSCALL, text, flags=SLEEPABLE, log_level=2)
    assert loaded.descriptor is None
    assert len(loaded.log) > syscall.LOG_BYTES
    assert loaded.log.startswith("func#0")
    assert read_log(loaded.log)[:2] == (4, "R5 !read_ok")


@pytest.mark.parametrize(("more", "accepted"), [(0, True), (1, False)])
def test_the_largest_log_is_the_largest_that_linux_takes(more: int, accepted: bool) -> None:
    attributes, buffers = syscall._load_attributes(SYSCALL, noisy(1, "exit"), "GPL", "", SLEEPABLE)
    log = ctypes.create_string_buffer(syscall.LOG_BYTES)  # all that Linux will write
    attributes.log_level, attributes.log_size = 1, syscall.LOG_LIMIT + more
    attributes.log_buf = ctypes.addressof(log)
    found = syscall.bpf(syscall.PROG_LOAD, attributes)
    assert buffers
    assert found >= 0 if accepted else found == -errno.EINVAL
    if accepted:
        syscall.Descriptor(found).close()


def test_growing_the_log_leaks_nothing() -> None:
    code, before = noisy(5_000, "exit"), held()
    for _ in range(5):
        syscall.load_program(SYSCALL, code, flags=SLEEPABLE, log_level=2)
    gc.collect()
    assert held() == before


@pytest.mark.parametrize(
    ("log", "pc", "reason"),
    [
        ("", -1, ""),
        ("processed 3 insns (limit 1000000) max_states_per_insn 0\n", -1, ""),
        (
            "last insn is not an exit or jmp\nprocessed 0 insns\n",
            -1,
            "last insn is not an exit or jmp",
        ),
        ("unreachable insn 5\nprocessed 0 insns (limit\n", 5, "unreachable insn 5"),
        ("jump out of range from insn 3 to 9\n", 3, "jump out of range from insn 3 to 9"),
        (
            "0: R1=ctx() R10=fp0\n0: (b7) r0 = 1   ; R0_w=1\n1: (79) r1 = *(u64 *)(r0 +0)\n"
            "R0 invalid mem access 'scalar'\nprocessed 2 insns\n",
            1,
            "R0 invalid mem access 'scalar'",
        ),
        (
            "7: (05) goto pc-1\ninfinite loop detected at insn 7\ncur state: R0=1\n"
            "old state: R0=1\nprocessed 2 insns\n",
            7,
            "infinite loop detected at insn 7",
        ),
    ],
)
def test_the_decisive_line(log: str, pc: int, reason: str) -> None:
    assert read_log(log)[:2] == (pc, reason)


@pytest.mark.parametrize(
    ("text", "pc", "reason"),
    [
        ("r0 = *(u64 *)(r5 + 0)\nexit", 0, "R5 !read_ok"),
        ("r0 = 1\nr1 = *(u64 *)(r0 + 0)\nexit", 1, "R0 invalid mem access 'scalar'"),
        ("r0 = 0\nexit\nr0 = 1\nexit", 2, "unreachable insn 2"),
        ("r0 = 1", -1, "last insn is not an exit or jmp"),
        (
            "r1 = cast_kern(r1)\nr0 = 0\nexit",
            0,
            "addr_space_cast insn can only be used in a program that has an associated arena",
        ),
    ],
)
def test_verdicts_without_running(text: str, pc: int, reason: str) -> None:
    before = held()
    answer = verdict(assemble(text))
    assert (answer.ok, answer.pc, answer.reason) == (False, pc, reason)
    assert reason in str(answer)
    assert answer.log.count("processed") == 1
    assert held() == before


def test_a_verdict_of_an_accepted_program() -> None:
    answer = verdict(assemble("r1 = arena ll\nr0 = 7\nexit"))
    assert answer.ok
    assert answer.processed == 3
    assert answer.listing[-2:] == ["r0 = 7", "exit"]
    assert answer.xlated["imm"][2] == 7


def test_the_error_shows_the_instruction() -> None:
    error = verdict(assemble("r0 = 1\nr1 = *(u64 *)(r0 + 0)\nexit")).error()
    assert isinstance(error, VerificationError)
    assert str(error) == ("instruction 1: R0 invalid mem access 'scalar'  [r1 = *(u64 *)(r0 +0)]")
    verdict(assemble("r0 = 0\nexit")).raise_if_refused()
    with pytest.raises(VerificationError, match="invalid mem access"):
        verdict(assemble("r0 = 1\nr1 = *(u64 *)(r0 + 0)\nexit")).raise_if_refused()


def test_a_missing_kfunc_has_a_name() -> None:
    with pytest.raises(KernelError, match="ENOENT: this kernel has no kfunc bpf_no_such_thing"):
        verdict(assemble("call bpf_no_such_thing\nexit"))


def test_an_unknown_map_has_a_name() -> None:
    with pytest.raises(Unsupported, match="map 'counters'"):
        verdict(assemble("r1 = counters ll\nr0 = 0\nexit"))


def test_callbacks_are_accepted() -> None:
    text = "r1 = 4\nr2 = body ll\nr3 = 0\nr4 = 0\ncall 181\nr0 = 0\nexit\nbody: r0 = 0\nexit"
    assert verdict(assemble(text)).ok


def test_without_privileges_the_error_names_the_cure() -> None:
    receive, send = os.pipe()
    child = os.fork()
    if child == 0:
        os.setresuid(65534, 65534, 65534)
        try:
            verdict(assemble("r0 = 0\nexit"))
            message = "loaded"
        except KernelError as error:
            message = str(error)
        os.write(send, message.encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(send)
    message = os.read(receive, 1000).decode()
    os.close(receive)
    assert message.startswith("EPERM")
    assert "CAP_BPF" in message


def test_kfunc_numbers() -> None:
    found = btf.vmlinux().called("bpf_arena_alloc_pages", Kind.FUNC)
    assert [btf.kfunc_id("bpf_arena_alloc_pages")] == found
    assert btf.members("no_such_structure") == {}
    assert btf.offset_of("list_head", "prev") == btf.offset_of("list_head", "next") + 8
    with pytest.raises(KernelError, match=r"this kernel has no list_head\.middle"):
        btf.offset_of("list_head", "middle")
    with pytest.raises(KernelError, match="this kernel has no kfunc bpf_none"):
        btf.kfunc_id("bpf_none")


def test_every_type_can_be_read() -> None:
    """Types are numbered densely, so what the last one says must make sense."""
    types = btf.vmlinux()
    for number in [*range(0, len(types), 997), len(types) - 1]:
        assert types[number].target < len(types)
        assert all(0 <= member.type < len(types) for member in types[number].members)


def test_user_memory_is_read_and_written_safely() -> None:
    buffer = ctypes.create_string_buffer(b"abcdefgh", 8)
    address = ctypes.addressof(buffer)
    assert memory.read_user(address, 8) == b"abcdefgh"
    memory.write_user(address + 2, b"XY")
    assert buffer.raw == b"abXYefgh"
    for where in (0, 1 << 63, (1 << 64) - 8, 0x7FFF_FFFF_F000):
        with pytest.raises(SegmentationFault):
            memory.read_user(where, 8)
        with pytest.raises(SegmentationFault):
            memory.write_user(where, b"12345678")


def test_bad_btf_is_explained() -> None:
    with pytest.raises(KernelError, match="BTF"):
        syscall.load_btf(bytes(24))
