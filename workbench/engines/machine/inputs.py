"""What a program is started with: its context, and for packet types the packet it is about.

A packet run has the numbers that BPF_PROG_TEST_RUN gives: the loopback device, no receive queue,
no marks. Source: net/bpf/test_run.c.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from workbench.arena.rules import PAGE_SIZE
from workbench.bpf.addresses import CPU_BYTES, CTX_START, ETHERNET, MEMORY_START, PACKET_START
from workbench.bpf.program_types import PROGRAM_TYPES
from workbench.engines.machine.packets import HEADROOM, PAGE_ROOM
from workbench.engines.machine.state import CTX_REGION, PACKET_REGION, R_BYTES, R_HOST
from workbench.errors import WorkbenchError

_LOOPBACK = 1  # the number of the device lo
_LONGEST = 0xFFFF  # bytes of a packet that is no xdp frame; Linux 6.18 takes 3,712


class Inputs(NamedTuple):
    """Context and packet buffer; `packet` is where the packet's bytes start in it.

    `hidden` bytes before what the program sees belong to the packet too: the Ethernet header of a
    socket filter, which BPF_PROG_TEST_RUN gives back as zeros.
    """

    type: str
    ctx: np.ndarray
    buffer: np.ndarray
    packet: int = 0
    length: int = 0
    hidden: int = 0

    def place(self, regions: np.ndarray, cpu: int) -> int:
        """Fill in the regions of context and packet; returns the context's address."""
        row = PROGRAM_TYPES[self.type]
        at = (MEMORY_START if row.raw else CTX_START) + cpu * CPU_BYTES
        regions[CTX_REGION] = at, len(self.ctx), self.ctx.ctypes.data, 1
        start = PACKET_START + cpu * CPU_BYTES + self.packet
        host = self.buffer.ctypes.data + self.packet
        regions[PACKET_REGION] = (start, self.length, host, 1) if row.takes_packet else (0, 0, 0, 0)
        ends = {"packet": start, "packet_meta": start, "packet_end": start + self.length}
        for word, what in _filled_in(self.type)[0] if row.takes_packet else ():
            self.ctx.view(np.uint32)[word] = ends[what]
        return at

    def packet_bytes(self, regions: np.ndarray) -> bytes:
        """The packet as it is now."""
        if not PROGRAM_TYPES[self.type].takes_packet:
            return b""
        begin = int(regions[PACKET_REGION, R_HOST]) - int(self.buffer.ctypes.data)
        seen = self.buffer[begin : begin + int(regions[PACKET_REGION, R_BYTES])].tobytes()
        return bytes(self.hidden) + seen


def inputs(type: str, ctx: bytes) -> Inputs:
    """Make what a run with this context, or for packet types this packet, begins with.

    Raises WorkbenchError for a packet shorter than an Ethernet header or too long for its type.
    """
    row = PROGRAM_TYPES[type]
    if not row.takes_packet:
        content = np.frombuffer(bytearray(ctx), np.uint8) if ctx else np.zeros(0, np.uint8)
        return Inputs(type, content, np.zeros(0, np.uint8))
    framed = row.input == "frame"
    longest = PAGE_ROOM - HEADROOM if framed else _LONGEST
    if not ETHERNET <= len(ctx) <= longest:
        raise WorkbenchError(
            f"a packet for {type} has {ETHERNET} to {longest} bytes, not {len(ctx)}; "
            "pass ctx=bytes(64)"
        )
    seen = len(ctx) - row.hidden
    context = _context(type, ctx, seen)
    if not framed:
        buffer = np.frombuffer(bytearray(ctx), np.uint8)
        return Inputs(type, context, buffer, row.hidden, seen, row.hidden)
    buffer = np.zeros(PAGE_SIZE, np.uint8)
    buffer[HEADROOM : HEADROOM + len(ctx)] = np.frombuffer(ctx, np.uint8)
    return Inputs(type, context, buffer, HEADROOM, seen)


@cache
def _filled_in(type: str) -> tuple[list[tuple[int, str]], list[tuple[int, str]]]:
    """What each 32-bit word of a packet's context holds: pointers to the packet, and the rest."""
    context = PROGRAM_TYPES[type].context
    fields = context.fields if context else ()
    pointers = [(f.offset // 4, f.loads) for f in fields if f.loads != "scalar"]
    return pointers, [(f.offset // 4, f.begins) for f in fields if f.begins]


def _context(type: str, packet: bytes, length: int) -> np.ndarray:
    """The context of a packet of which the program sees `length` bytes, without the pointers."""
    begins = {
        "length": length,
        "packet_kind": _packet_kind(packet),
        "protocol": int.from_bytes(packet[12:14], "little"),
        "loopback": _LOOPBACK,
    }
    context = PROGRAM_TYPES[type].context
    content = np.zeros(context.size if context else 0, np.uint8)
    for word, what in _filled_in(type)[1]:
        content.view(np.uint32)[word] = begins[what]
    return content


def _packet_kind(packet: bytes) -> int:
    """PACKET_HOST, BROADCAST, MULTICAST or OTHERHOST of a packet that arrives on loopback."""
    target = packet[:6]
    if target == bytes(6):
        return 0
    if target == b"\xff" * 6:
        return 1
    return 2 if target[0] & 1 else 3
