"""Which bytes of a context a program may touch: our table against the running kernel."""

import struct

import pytest
from support.bpf_probe import refusal

from workbench.bpf.program_types import PROGRAM_TYPES

CONTEXTS = {name: row.context for name, row in PROGRAM_TYPES.items() if row.context}
SLEEPABLE = 16
SIZE_CODES = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}
SOCKET = 168  # __sk_buff.sk, a kind of pointer that is not modelled


def access(offset: int, size: int, write: bool) -> bytes:
    """A program that does one access to the context at r1."""
    opcode = (0x63 if write else 0x61) | SIZE_CODES[size]
    registers = 1 | 2 << 4 if write else 2 | 1 << 4
    middle = struct.pack("<BBhi", opcode, registers, offset, 0)
    return struct.pack("<Q", 0x2B7) + middle + struct.pack("<QQ", 0xB7, 0x95)


@pytest.mark.kernel
@pytest.mark.parametrize("kind", CONTEXTS)
def test_linux_allows_the_same_accesses(kind: str) -> None:
    if reason := refusal():
        pytest.skip(reason)
    from workbench.engines.kernel import syscall

    row = PROGRAM_TYPES[kind]
    flags = SLEEPABLE if row.sleepable else 0
    for offset in range(0, min(CONTEXTS[kind].size, 192) + 8, 1):
        for size, write in ((1, 0), (2, 0), (4, 0), (8, 0), (1, 1), (4, 1), (8, 1)):
            if offset == SOCKET and size == 8:
                continue
            code = access(offset, size, bool(write))
            loaded = syscall.load_program(row.number, code, flags=flags, attach=row.attach)
            if loaded.descriptor is not None:
                loaded.descriptor.close()
            allowed = loaded.descriptor is not None
            assert (CONTEXTS[kind].field_at(offset, size, bool(write)) is not None) == allowed, (
                f"{'store' if write else 'load'} of {size} bytes at {offset}: {loaded.log}"
            )


def test_packet_pointers_come_from_the_context() -> None:
    fields = [CONTEXTS["xdp"].field_at(4 * n, 4, False) for n in range(3)]
    assert [f.loads for f in fields if f] == ["packet", "packet_end", "packet_meta"]
    assert CONTEXTS["xdp"].field_at(0, 8, False) is None
    data = CONTEXTS["tc"].field_at(76, 4, False)
    assert data is not None
    assert data.loads == "packet"
    assert CONTEXTS["socket_filter"].field_at(76, 4, False) is None
