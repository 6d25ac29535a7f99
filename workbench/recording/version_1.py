"""Recordings of format version 1, which kept less: as version 2 with what can be known filled in.

Version 1 had no maps, no BTF, the names of functions alone, no report of the verifier, and of a
page event its step, kind and pages: the rest follows from these, as the engines make them.
"""

from typing import Any

import numpy as np

from workbench.arena.events import Kind
from workbench.arena.rules import PAGE_SIZE
from workbench.bpf.declarations import Subprogram

OPERATIONS = """
    ADD64 SUB64 MUL64 DIV64 MOD64 SDIV64 SMOD64 OR64 AND64 XOR64 LSH64 RSH64 ARSH64 MOV64 ADD32
    SUB32 MUL32 DIV32 MOD32 SDIV32 SMOD32 OR32 AND32 XOR32 LSH32 RSH32 ARSH32 MOV32 NEG64 NEG32
    MOVSX8_64 MOVSX16_64 MOVSX32_64 MOVSX8_32 MOVSX16_32 LE16 LE32 LE64 BE16 BE32 BE64 BSWAP16
    BSWAP32 BSWAP64 CAST_KERN CAST_USER JEQ64 JNE64 JGT64 JGE64 JLT64 JLE64 JSET64 JSGT64 JSGE64
    JSLT64 JSLE64 JEQ32 JNE32 JGT32 JGE32 JLT32 JLE32 JSET32 JSGT32 JSGE32 JSLT32 JSLE32 JA JA32
    MAY_GOTO CALL_HELPER CALL_KFUNC CALL_LOCAL CALLX EXIT LD_IMM64 LD_MAP_FD LD_MAP_VALUE
    LD_BTF_ID LD_FUNC LD_MAP_IDX LD_MAP_IDX_VALUE LD_ABS8 LD_ABS16 LD_ABS32 LD_IND8 LD_IND16
    LD_IND32 LDX8 LDX16 LDX32 LDX64 LDXS8 LDXS16 LDXS32 STX8 STX16 STX32 STX64 ATOMIC_ADD32
    ATOMIC_AND32 ATOMIC_OR32 ATOMIC_XOR32 FETCH_ADD32 FETCH_AND32 FETCH_OR32 FETCH_XOR32 XCHG32
    CMPXCHG32 ATOMIC_ADD64 ATOMIC_AND64 ATOMIC_OR64 ATOMIC_XOR64 FETCH_ADD64 FETCH_AND64
    FETCH_OR64 FETCH_XOR64 XCHG64 CMPXCHG64 LOAD_ACQUIRE8 LOAD_ACQUIRE16 LOAD_ACQUIRE32
    LOAD_ACQUIRE64 STORE_RELEASE8 STORE_RELEASE16 STORE_RELEASE32 STORE_RELEASE64 ARENA_LDX8
    ARENA_LDX16 ARENA_LDX32 ARENA_LDX64 ARENA_LDXS8 ARENA_LDXS16 ARENA_LDXS32 ARENA_STX8
    ARENA_STX16 ARENA_STX32 ARENA_STX64 ARENA_ATOMIC_ADD32 ARENA_ATOMIC_AND32 ARENA_ATOMIC_OR32
    ARENA_ATOMIC_XOR32 ARENA_FETCH_ADD32 ARENA_FETCH_AND32 ARENA_FETCH_OR32 ARENA_FETCH_XOR32
    ARENA_XCHG32 ARENA_CMPXCHG32 ARENA_ATOMIC_ADD64 ARENA_ATOMIC_AND64 ARENA_ATOMIC_OR64
    ARENA_ATOMIC_XOR64 ARENA_FETCH_ADD64 ARENA_FETCH_AND64 ARENA_FETCH_OR64 ARENA_FETCH_XOR64
    ARENA_XCHG64 ARENA_CMPXCHG64 ARENA_LOAD_ACQUIRE8 ARENA_LOAD_ACQUIRE16 ARENA_LOAD_ACQUIRE32
    ARENA_LOAD_ACQUIRE64 ARENA_STORE_RELEASE8 ARENA_STORE_RELEASE16 ARENA_STORE_RELEASE32
    ARENA_STORE_RELEASE64 INVALID
"""
"""The names of the codes of operations, which later versions carry in the file."""

_BY_USER = (Kind.USER_FAULT, Kind.USER_MINOR, Kind.SEGV)


def upgraded(
    meta: dict[str, Any], columns: dict[str, np.ndarray]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Meta and columns of version 2 from those of version 1."""
    functions = [Subprogram(**row)._asdict() for row in meta.get("functions", ())]
    absent = [] if meta["arena"] else ["initial", "free"]
    absent += [] if columns["region_bytes"].any() else ["stack"]
    new = {
        "subprograms": functions,
        "structures": meta.get("structures", []),
        "variables": meta.get("variables", []),
        "part": meta.get("part"),
        "program": meta.get("program", {}) | {"maps": [], "btf": ""},
        "operations": OPERATIONS.split(),
        "absent": absent,
        "report": None,
    }
    return meta | new, columns | _events(meta, columns)


def _events(meta: dict[str, Any], columns: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Time, actor, slot and address of the page events."""
    step, page, pc = columns["event_step"], columns["event_page"], columns["pc"]
    slots = np.full(len(step), -1, np.int32)
    if len(pc):
        slots = pc[np.minimum(step, len(pc) - 1)].astype(np.int32)
    start = np.uint64(meta["arena"]["user_start"] if meta["arena"] else 0)
    return {
        "event_time": step.astype(np.uint64) + np.uint64(meta.get("clock", 0) + 1),
        "event_actor": np.isin(columns["event_kind"], _BY_USER).astype(np.uint8),
        "event_pc": slots,
        "event_address": start + page.astype(np.uint64) * np.uint64(PAGE_SIZE),
    }
