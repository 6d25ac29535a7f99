"""LLVM's BPF back end, which llvmlite brings along, as an encoding oracle without a C compiler.

LLVM IR goes in; what comes out is LLVM's own assembly text and the .text section of its object.
(`module asm` aborts the process: this LLVM has no parser for BPF assembly.)
"""

import io
import re
from collections.abc import Iterator
from typing import NamedTuple

import llvmlite.binding as llvm
from elftools.elf.elffile import ELFFile

llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()

LAYOUT = "e-m:e-p:64:64-i64:64-i128:128-n32:64-S128"
COMPARISONS = ("eq", "ne", "ugt", "uge", "ult", "ule", "sgt", "sge", "slt", "sle")
ARITHMETIC = ("add", "sub", "mul", "udiv", "urem", "sdiv", "srem", "or", "and", "xor")
ARITHMETIC += ("shl", "lshr", "ashr")


class Compiled(NamedTuple):
    """Instructions as text lines and labels, as LLVM prints them, and as wire bytes."""

    text: list[str]
    bytecode: bytes


def compile_ir(ir: str, cpu: str = "v4") -> Compiled:
    """Compile a module for bpfel."""
    target = llvm.Target.from_triple("bpfel").create_target_machine(cpu=cpu, opt=2)
    module = llvm.parse_assembly(f'target triple = "bpfel"\ntarget datalayout = "{LAYOUT}"\n{ir}')
    text = target.emit_assembly(module)
    with io.BytesIO(target.emit_object(module)) as file:
        elf = ELFFile(file)
        bytecode = bytearray(elf.get_section_by_name(".text").data())
        _link_calls(elf, bytecode)
    return Compiled(list(_code_lines(text)), bytes(bytecode))


def _code_lines(text: str) -> Iterator[str]:
    """Keep instructions and the labels of functions and blocks; drop directives and comments."""
    for line in text.splitlines():
        line = " ".join(re.sub(r"#.*", "", line).split())
        if line and not line.startswith("."):
            yield line


def _link_calls(elf: ELFFile, bytecode: bytearray) -> None:
    """Resolve calls between functions of .text, as a linker does (R_BPF_64_32)."""
    section = elf.get_section_by_name(".rel.text")
    for relocation in section.iter_relocations() if section else ():
        symbol = elf.get_section_by_name(".symtab").get_symbol(relocation["r_info_sym"])
        at = relocation["r_offset"]
        within = int.from_bytes(bytecode[at + 4 : at + 8], "little", signed=True) + 1
        distance = symbol["st_value"] // 8 + within - at // 8 - 1
        bytecode[at + 4 : at + 8] = distance.to_bytes(4, "little", signed=True)


def with_labels_resolved(lines: list[str]) -> list[str]:
    """Replace labels by distances in slots, as `listing` writes them; label lines disappear."""
    slots, labels = 0, {}
    for line in lines:
        if line.endswith(":"):
            labels[line[:-1]] = slots
        else:
            slots += size(line)
    resolved, pc = [], 0
    for line in lines:
        if line.endswith(":"):
            continue
        pc += size(line)
        head, _, last = line.rpartition(" ")
        resolved.append(f"{head} {labels[last] - pc:+d}" if last in labels else line)
    return resolved


def size(line: str) -> int:
    """Slots of an instruction."""
    return 2 if line.endswith(" ll") or line.startswith("ld_pseudo") else 1


def everything() -> str:
    """A module that makes LLVM emit each instruction that it can be made to emit for CPU v4."""
    bodies = [*_arithmetic(), *_branches(), *_memory(), *_atomics(), *_others()]
    functions = [f"define {body}".replace("@f", f"@f{n}") for n, body in enumerate(bodies)]
    return "\n".join([*_DECLARATIONS, *functions])


def byte_swaps() -> str:
    """Byte swaps: `bswap` for CPU v4, `be` for older ones."""
    functions = [
        f"define {t} @swap_{t}({t} %a) {{ %r = call {t} @llvm.bswap.{t}({t} %a)\n ret {t} %r }}"
        for t in ("i16", "i32", "i64")
    ]
    return "\n".join([*_DECLARATIONS, *functions])


_DECLARATIONS = [
    *(f"declare {t} @llvm.bswap.{t}({t})" for t in ("i16", "i32", "i64")),
    *(f"declare i64 @llvm.bpf.load.{size}(ptr, i64)" for size in ("byte", "half", "word")),
    "declare i64 @llvm.bpf.pseudo(i64, i64)",
]


def _arithmetic() -> Iterator[str]:
    for t in ("i64", "i32"):
        for name in ARITHMETIC:
            for operand in ("%b", "13"):
                yield f"{t} @f({t} %a, {t} %b) {{ %r = {name} {t} %a, {operand}\n ret {t} %r }}"
        yield f"{t} @f({t} %a) {{ %r = sub {t} 0, %a\n ret {t} %r }}"
        yield f"{t} @f({t} %a, {t} %b) {{ ret {t} %b }}"
        yield f"{t} @f() {{ ret {t} -77 }}"
        for small in ("i8", "i16", "i32")[: 3 if t == "i64" else 2]:
            narrow = f"%s = trunc {t} %a to {small}\n %r = sext {small} %s to {t}"
            yield f"{t} @f({t} %a) {{ {narrow}\n ret {t} %r }}"


def _branches() -> Iterator[str]:
    for t in ("i64", "i32"):
        for name in COMPARISONS:
            for operand in ("%b", "13"):
                for targets in ("label %t, label %e", "label %e, label %t"):
                    test = f"%c = icmp {name} {t} %a, {operand}\n br i1 %c, {targets}"
                    store = "store volatile i64 1, ptr %p\n ret i64"
                    blocks = f"t: {store} 1\ne: {store} 2"
                    yield f"i64 @f({t} %a, {t} %b, ptr %p) {{ {test}\n{blocks} }}"
    yield "void @f(ptr %p) { br label %l\nl: store volatile i64 1, ptr %p\n br label %l }"


def _memory() -> Iterator[str]:
    for bits in (8, 16, 32, 64):
        t, align = f"i{bits}", bits // 8
        near = "%q = getelementptr i8, ptr %p, i64 -40"
        yield f"{t} @f(ptr %p) {{ {near}\n %v = load {t}, ptr %q\n ret {t} %v }}"
        yield f"void @f(ptr %p, {t} %v) {{ {near}\n store {t} %v, ptr %q\n ret void }}"
        yield f"void @f(ptr %p) {{ store {t} -3, ptr %p\n ret void }}"
        if bits < 64:
            load = f"%v = load {t}, ptr %p\n %r = sext {t} %v to i64"
            yield f"i64 @f(ptr %p) {{ {load}\n ret i64 %r }}"
        acquire = f"%v = load atomic {t}, ptr %p acquire, align {align}"
        yield f"{t} @f(ptr %p) {{ {acquire}\n ret {t} %v }}"
        release = f"store atomic {t} %v, ptr %p release, align {align}"
        yield f"void @f(ptr %p, {t} %v) {{ {release}\n ret void }}"
    for name in ("byte", "half", "word"):
        for head, index in (("ptr %s, i64 %i", "%i"), ("ptr %s", "14")):
            load = f"call i64 @llvm.bpf.load.{name}(ptr %s, i64 {index})"
            yield f"i64 @f({head}) {{ %r = {load}\n ret i64 %r }}"


def _atomics() -> Iterator[str]:
    for t in ("i32", "i64"):
        for name in ("add", "and", "or", "xor", "xchg"):
            fetch = f"%o = atomicrmw {name} ptr %p, {t} %v"
            yield f"{t} @f(ptr %p, {t} %v) {{ {fetch} seq_cst\n ret {t} %o }}"
            if name != "xchg":
                yield f"void @f(ptr %p, {t} %v) {{ {fetch} monotonic\n ret void }}"
        exchange = f"%o = cmpxchg ptr %p, {t} %v, {t} %w seq_cst seq_cst"
        first = f"%r = extractvalue {{{t}, i1}} %o, 0"
        yield f"{t} @f(ptr %p, {t} %v, {t} %w) {{ {exchange}\n {first}\n ret {t} %r }}"


def _others() -> Iterator[str]:
    for here, there in (("ptr addrspace(1)", "ptr"), ("ptr", "ptr addrspace(1)")):
        cast = f"%q = addrspacecast {here} %p to {there}\n %r = ptrtoint {there} %q to i64"
        yield f"i64 @f({here} %p) {{ {cast}\n ret i64 %r }}"
    for number in (1311768467294899695, -2147483649):
        yield f"i64 @f() {{ ret i64 {number} }}"
    for kind in (1, 3):  # a map by its descriptor, a kernel variable
        yield f"i64 @f() {{ %r = call i64 @llvm.bpf.pseudo(i64 {kind}, i64 7)\n ret i64 %r }}"
    yield "i64 @f() { %r = call i64 inttoptr (i64 5 to ptr)()\n ret i64 %r }"
    yield "i64 @f(ptr %p) { %r = call i64 %p()\n ret i64 %r }"
    yield "internal i64 @callee(i64 %a) noinline { %r = mul i64 %a, %a\n ret i64 %r }"
    yield "i64 @f(i64 %a) { %b = add i64 %a, 1\n %r = call i64 @callee(i64 %b)\n ret i64 %r }"


def far_jump(stores: int = 33_000) -> str:
    """A branch over so many instructions that LLVM needs `gotol`."""
    body = "store volatile i64 1, ptr %p\n" * stores
    test = "%c = icmp eq i64 %a, 0\n br i1 %c, label %e, label %t"
    return f"define void @far(i64 %a, ptr %p) {{ {test}\nt: {body} br label %e\ne: ret void }}"
