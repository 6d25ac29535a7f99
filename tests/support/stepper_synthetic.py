"""A recorded run made by twenty lines of machine: a list of 20 nodes summed in an arena.

It records the same columns as the real recorder, and besides the whole state at every step, so that
the browser's replay can be checked against something that shares no code with it. The tests in
JavaScript have it as a file, which `PYTHONPATH=.:tests python -m support.stepper_synthetic` writes.
"""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from support.paths import JAVASCRIPT
from workbench.bpf.effects import effect
from workbench.bpf.isa import Op
from workbench.recording.columns import KEYFRAME
from workbench.recording.format import pack

USER = 0x1000_1000_0000
LOW = USER & 0xFFFF_FFFF
STACK_TOP = 0xFFFF_C900_0000_1000
STACK = {"name": "stack", "address": STACK_TOP - 4096, "size": 4096}
CTX = {"name": "ctx", "address": 0xFFFF_8880_0000_0000, "size": 16}
MASK = (1 << 64) - 1
NODES = 20

C_LINES = {
    0: (8, "struct node __arena *n = head;"),
    4: (9, "u64 __arena *sum = bpf_arena_alloc_pages(&arena, NULL, 1, -1, 0);"),
    12: (10, "u64 s = 0;"),
    13: (11, "for (; n; n = n->next)"),
    14: (12, "    s = add(s, n->value), *sum = s;"),
    18: (11, "for (; n; n = n->next)"),
    20: (13, "u64 lost = sum[1024];"),
    21: (14, "sum[1024] = 1;"),
    22: (15, "u64 __arena *shared = sum;"),
    24: (16, "return s;"),
    25: (4, "return a + b;"),
}

# (op, dst, src, off, imm, text[, name])
PROGRAM: dict[int, tuple[Any, ...]] = {
    0: ("LD_MAP_FD", 1, 0, 0, 0, "r1 = arena ll", "arena"),
    1: ("INVALID", 0, 0, 0, 0, ""),
    2: ("LD_IMM64", 9, 0, 0, USER + 0x40, f"r9 = {USER + 0x40:#x} ll"),
    3: ("INVALID", 0, 0, 0, 0, ""),
    4: ("MOV64", 2, 11, 0, 0, "r2 = 0"),
    5: ("MOV32", 3, 11, 0, 1, "w3 = 1"),
    6: ("MOV32", 4, 11, 0, -1, "w4 = -1"),
    7: ("MOV64", 5, 11, 0, 0, "r5 = 0"),
    8: ("CALL_KFUNC", 0, 2, 0, -1, "call bpf_arena_alloc_pages", "bpf_arena_alloc_pages"),
    9: ("MOV64", 6, 0, 0, 0, "r6 = r0"),
    10: ("CAST_KERN", 7, 6, 0, 0, "r7 = cast_kern(r6)"),
    11: ("MOV64", 1, 9, 0, 0, "r1 = r9"),
    12: ("MOV64", 0, 11, 0, 0, "r0 = 0"),
    13: ("JEQ64", 1, 11, 6, 0, "if r1 == 0 goto L20"),
    14: ("CAST_KERN", 1, 1, 0, 0, "r1 = cast_kern(r1)"),
    15: ("LDX64", 2, 1, 8, 0, "r2 = *(u64 *)(r1 + 8)"),
    16: ("CALL_LOCAL", 0, 0, 8, 0, "call L25"),
    17: ("STX64", 7, 0, 0, 0, "*(u64 *)(r7 + 0) = r0"),
    18: ("LDX64", 1, 1, 0, 0, "r1 = *(u64 *)(r1 + 0)"),
    19: ("JA", 0, 0, -7, 0, "goto L13"),
    20: ("LDX64", 3, 7, 8192, 0, "r3 = *(u64 *)(r7 + 8192)"),
    21: ("STX64", 7, 11, 8192, 1, "*(u64 *)(r7 + 8192) = 1"),
    22: ("CAST_USER", 8, 7, 0, 0, "r8 = cast_user(r7)"),
    23: ("STX64", 10, 8, -8, 0, "*(u64 *)(r10 - 8) = r8"),
    24: ("EXIT", 0, 0, 0, 0, "exit"),
    25: ("ADD64", 0, 2, 0, 0, "r0 += r2"),
    26: ("EXIT", 0, 0, 0, 0, "exit"),
}


class Machine:
    """Runs PROGRAM and writes down each step."""

    def __init__(self) -> None:
        self.pages = initial_pages()
        self.stack = bytearray(4096)
        self.frames = [[0] * 11 for _ in range(8)]
        for depth, regs in enumerate(self.frames):
            regs[10] = STACK_TOP - 512 * depth if depth == 0 else 0
        self.frames[0][1] = CTX["address"]
        self.depth, self.pc, self.returns = 0, 0, []
        self.rows: list[tuple[int, ...]] = []
        self.events: list[tuple[int, ...]] = []
        self.states: list[dict[str, Any]] = []
        self.running = True

    def run(self) -> "Machine":
        while self.running:
            self.states.append(self.state())
            self.step()
        self.states.append(self.state())
        return self

    def state(self) -> dict[str, Any]:
        return {
            "regs": [list(frame) for frame in self.frames],
            "depth": self.depth,
            "pages": {number: bytes(page) for number, page in self.pages.items()},
            "stack": bytes(self.stack),
        }

    def step(self) -> None:
        op, dst, src, off, imm, *_ = PROGRAM[self.pc]
        regs, pc, depth = self.frames[self.depth], self.pc, self.depth
        second = ((regs[src] if src < 11 else 0) + imm) & MASK
        reg, value, memory = 255, 0, (0, 0, 0, 0, 0)
        self.pc += 2 if op.startswith("LD_") else 1
        if op in ("LD_MAP_FD", "LD_IMM64"):
            reg, value = dst, imm or 0xFFFF_8881_2345_6700
        elif op in ("MOV64", "MOV32"):
            reg, value = dst, second & (MASK if op == "MOV64" else 0xFFFF_FFFF)
        elif op == "ADD64":
            reg, value = dst, (regs[dst] + second) & MASK
        elif op == "CAST_KERN":
            reg, value = dst, regs[src] & 0xFFFF_FFFF
        elif op == "CAST_USER":
            reg, value = dst, (USER & ~0xFFFF_FFFF) | (regs[src] & 0xFFFF_FFFF)
        elif op == "CALL_KFUNC":
            reg, value = 0, USER + 0x4000
            self.pages[4] = bytearray(4096)
            self.events.append((len(self.rows), 0, 4, 1))
        elif op == "LDX64":
            memory = self.load((regs[src] + off) & MASK)
            reg, value = dst, memory[3]
        elif op == "STX64":
            memory = self.store((regs[dst] + off) & MASK, second)
            value = memory[4]
        elif (op == "JEQ64" and regs[dst] == second) or op == "JA":
            self.pc += off
        elif op == "CALL_LOCAL":
            self.returns.append(self.pc)
            self.pc += off
            self.frames[depth + 1] = [*regs[:10], regs[10] - 512]
            self.depth += 1
        elif op == "EXIT" and depth:
            self.pc = self.returns.pop()
            self.depth -= 1
            self.frames[self.depth][:6] = regs[:6]
        elif op == "EXIT":
            self.running = False
        if reg != 255:
            regs[reg] = value
        size, access, address, old, new = memory
        self.rows.append((pc, depth, reg, size, access, value, address, old, new))

    def place(self, address: int) -> tuple[bytearray | None, int, int]:
        """The page, offset in it, and address as recorded (arena accesses in user form)."""
        if address > MASK >> 1:
            return self.stack, address - STACK["address"], address
        user = USER + (address & 0xFFFF_FFFF) - LOW
        return self.pages.get((user - USER) >> 12), user & 0xFFF, user

    def load(self, address: int) -> tuple[int, ...]:
        page, offset, address = self.place(address)
        if page is None:
            return 8, 1 | 4, address, 0, 0
        (value,) = struct.unpack_from("<Q", page, offset)
        return 8, 1, address, value, 0

    def store(self, address: int, value: int) -> tuple[int, ...]:
        page, offset, address = self.place(address)
        if page is None:
            return 8, 2 | 4, address, 0, value
        (old,) = struct.unpack_from("<Q", page, offset)
        struct.pack_into("<Q", page, offset, value)
        return 8, 2, address, old, value


def initial_pages() -> dict[int, bytearray]:
    """Twenty nodes {next, value} that user space scattered over pages 0 to 3."""
    pages = {number: bytearray(4096) for number in range(4)}
    places = [(7 * i % 4) * 4096 + 0x40 + 0x30 * i for i in range(NODES)]
    for i, at in enumerate(places):
        following = USER + places[i + 1] if i + 1 < NODES else 0
        struct.pack_into("<QQ", pages[at >> 12], at & 0xFFF, following, 3 * i + 1)
    return pages


def list_sum() -> tuple[bytes, list[dict[str, Any]]]:
    """The packed run, and the state before each step and after the last."""
    machine = Machine().run()
    names = ("pc", "depth", "reg", "size", "access", "value", "address", "old", "new")
    columns: dict[str, Any] = {
        name: np.array(column, np.uint64)
        for name, column in zip(names, zip(*machine.rows, strict=True), strict=True)
    }
    keys = machine.states[: len(machine.rows) : KEYFRAME]
    columns["key_regs"] = np.array([state["regs"] for state in keys], np.uint64)
    columns["key_depth"] = [state["depth"] for state in keys]
    pages = initial_pages()
    columns["page_number"] = list(pages)
    columns["page_bytes"] = np.frombuffer(b"".join(pages.values()), np.uint8)
    for i, name in enumerate(("event_step", "event_kind", "event_page", "event_count")):
        columns[name] = [event[i] for event in machine.events]
    columns["region_bytes"] = np.zeros(STACK["size"] + CTX["size"], np.uint8)
    return pack(meta(r0=machine.frames[0][0]), columns), machine.states


def described(
    pc: int, op: str, dst: int, src: int, off: int, imm: int, text: str, name: str = ""
) -> dict[str, Any]:
    """An instruction as the stepper gets it, from JSON."""
    row = {"pc": pc, "op": op, "dst": dst, "src": src, "off": off, "imm": imm, "text": text}
    facts = json.loads(json.dumps(effect(pc, (Op[op], dst, src, 0, off, imm), name)._asdict()))
    return row | ({"name": name} if name else {}) | facts


def meta(r0: int) -> dict[str, Any]:
    rows = [described(pc, *row) for pc, row in PROGRAM.items()]
    lines = [
        {"pc": pc, "line": n, "text": t, "file": "list_sum.c"} for pc, (n, t) in source().items()
    ]
    return {
        "name": "list_sum",
        "engine": "interpreter",
        "instructions": rows,
        "lines": lines,
        "arena": {
            "user_start": USER,
            "user_end": USER + (64 << 12),
            "pages": 64,
            "flags": ["MMAPABLE"],
        },
        "regions": [STACK, CTX],
        "stop": {"kind": "exit", "pc": 24, "reason": "", "r0": r0},
        "event_kinds": ["alloc", "free", "user_fault"],
    }


def source() -> dict[int, tuple[int, str]]:
    """A source line for every pc: that of the nearest entry at or before it."""
    starts = sorted(C_LINES)
    return {
        pc: C_LINES[max(start for start in starts if start <= pc)]
        for pc, row in PROGRAM.items()
        if row[0] != "INVALID"
    }


def long_run(n: int) -> bytes:
    """A run of n steps: a loop that loads, adds, stores and jumps, over 16 pages of an arena."""
    body = n // 4
    n = body * 4
    i = np.arange(body, dtype=np.uint64)
    at = np.uint64(USER) + (i * np.uint64(8)) % np.uint64(16 * 4096)
    total = i * (i + np.uint64(1)) // np.uint64(2)
    zero = np.zeros(body, np.uint64)

    def weave(*four: Any) -> np.ndarray[Any, Any]:
        columns = [np.broadcast_to(np.asarray(x, np.uint64), body) for x in four]
        return np.stack(columns, 1).reshape(-1)

    columns: dict[str, Any] = {
        "pc": weave(0, 1, 2, 3),
        "depth": np.zeros(n),
        "reg": weave(2, 0, 255, 1),
        "size": weave(8, 0, 8, 0),
        "access": weave(1, 0, 2, 0),
        "value": weave(i, total, total, at + np.uint64(8) - np.uint64(USER) + np.uint64(LOW)),
        "address": weave(at, zero, at, zero),
        "old": weave(i, zero, i, zero),
        "new": weave(zero, zero, total, zero),
    }
    keys = np.zeros((-(-n // KEYFRAME), 8, 11), np.uint64)
    at_key = np.arange(0, n, KEYFRAME) // 4
    keys[:, 0, 0] = np.where(at_key > 0, total[at_key - 1], 0)
    keys[:, 0, 1] = at[at_key] - np.uint64(USER) + np.uint64(LOW)
    keys[:, 0, 2] = np.where(at_key > 0, i[at_key - 1], 0)
    keys[:, 0, 10] = STACK_TOP
    columns |= {"key_regs": keys, "key_depth": np.zeros(len(keys))}
    columns |= {"page_number": np.arange(16), "page_bytes": np.zeros(16 * 4096)}
    texts = (
        ("LDX64", 2, 1, 0, 0, "r2 = *(u64 *)(r1 + 0)"),
        ("ADD64", 0, 2, 0, 0, "r0 += r2"),
        ("STX64", 1, 0, 0, 0, "*(u64 *)(r1 + 0) = r0"),
        ("ADD64", 1, 11, 0, 8, "r1 += 8"),
    )
    rows = [described(pc, *row) for pc, row in enumerate(texts)]
    stop = {"kind": "fuel", "pc": 0, "reason": "", "r0": int(total[-1])}
    changes = {"name": "long_run", "instructions": rows, "lines": [], "stop": stop}
    return pack(meta(0) | changes, columns)


def write_fixture(folder: Path) -> None:
    """Write list_sum.trace and, as JSON, the states that the JavaScript tests expect of it."""
    payload, states = list_sum()
    (folder / "list_sum.trace").write_bytes(payload)
    told = [
        {"step": k, "regs": [[f"{r:x}" for r in frame] for frame in state["regs"]]}
        | {"pages": {n: nonzero(page) for n, page in state["pages"].items()}}
        | {"stack": nonzero(state["stack"])}
        for k, state in enumerate(states)
        if k % 13 in (0, 5) or k > len(states) - 8
    ]
    (folder / "list_sum.json").write_text(json.dumps(told, separators=(",", ":")) + "\n")


def nonzero(page: bytes) -> dict[int, int]:
    """The bytes that are not zero, by offset."""
    return {offset: byte for offset, byte in enumerate(page) if byte}


if __name__ == "__main__":
    write_fixture(JAVASCRIPT)
