"""The JIT's machine code of a program, instruction by instruction, next to the BPF text."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from workbench.bpf.disassembler import listing
from workbench.bpf.program import Program
from workbench.engines.kernel import syscall
from workbench.engines.kernel.arena import KernelArena
from workbench.engines.kernel.loading import admit
from workbench.engines.native_text import disassembler

if TYPE_CHECKING:
    import capstone
    import pandas as pd


class NativeInstruction(NamedTuple):
    """One machine instruction: the BPF slot it came from, its address, bytes and text."""

    pc: int
    bpf: str
    address: int
    code: str
    native: str


def native(program: Program, arena: KernelArena | None) -> "pd.DataFrame":
    """Disassemble the machine code that the kernel's JIT writes for `program`.

    Columns pc, bpf, address, code (hexadecimal), native; a function's prologue counts to its
    first instruction. The program is loaded once more, with records that tie the two together.
    Raises VerificationError, Unsupported without capstone, KernelError where the JIT is off.
    """
    import pandas as pd

    machine = disassembler()
    admitted = admit(program, arena, log_level=1, lines=True)
    if admitted.descriptor is None:
        raise admitted.verdict.error()
    with admitted.descriptor as descriptor:
        code = syscall.jited(descriptor.fileno())
    rows = list(_rows(machine, code, listing(program)))
    return pd.DataFrame(rows, columns=list(NativeInstruction._fields))


def _rows(
    machine: "capstone.Cs", code: syscall.Native, texts: list[str]
) -> Iterator[NativeInstruction]:
    """Walk every function's machine code, with the slot whose code begins at or before it."""
    slot_at = {address: pc for pc, address in reversed(code.lines)}
    begin = 0
    for address, length in zip(code.addresses, code.lengths, strict=True):
        pc = slot_at.get(address, 0)
        for place, size, name, operands in machine.disasm_lite(
            code.code[begin : begin + length], address
        ):
            pc = slot_at.get(place, pc)
            piece = code.code[begin + place - address : begin + place - address + size]
            yield NativeInstruction(pc, texts[pc], place, piece.hex(), f"{name} {operands}".strip())
        begin += length
