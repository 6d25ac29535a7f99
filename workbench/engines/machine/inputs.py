"""What a program is started with: its context, and for packet types the packet it is about.

A packet run has the numbers that BPF_PROG_TEST_RUN gives: the loopback device, no receive queue,
no marks. Source: net/bpf/test_run.c.
"""

from typing import NamedTuple

import numpy as np

from workbench.bpf.addresses import CPU_BYTES, CTX_START, MEMORY_START, PACKET_START
from workbench.bpf.contexts import CONTEXTS
from workbench.engines.machine.packets import ETHERNET, HEADROOM, PAGE_ROOM
from workbench.engines.machine.state import CTX_REGION, PACKET_REGION
from workbench.errors import WorkbenchError

PACKET_TYPES = ("socket_filter", "tc", "xdp")
_LOOPBACK = 1
_LONGEST = 0xFFFF


class Surroundings(NamedTuple):
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
        raw = self.type == "raw"
        at = (MEMORY_START if raw else CTX_START) + cpu * CPU_BYTES
        regions[CTX_REGION] = at, len(self.ctx), self.ctx.ctypes.data, 1
        start = PACKET_START + cpu * CPU_BYTES + self.packet
        host = self.buffer.ctypes.data + self.packet
        seen = self.type in PACKET_TYPES
        regions[PACKET_REGION] = (start, self.length, host, 1) if seen else (0, 0, 0, 0)
        if self.type == "xdp":
            self.ctx.view(np.uint32)[:3] = start, start + self.length, start
        elif self.type == "tc":
            words = self.ctx.view(np.uint32)
            words[76 // 4], words[80 // 4], words[140 // 4] = start, start + self.length, start
        return at

    def packet_bytes(self, regions: np.ndarray) -> bytes:
        """The packet as it is now."""
        if self.type not in PACKET_TYPES:
            return b""
        begin = int(regions[PACKET_REGION, 2]) - int(self.buffer.ctypes.data)
        seen = self.buffer[begin : begin + int(regions[PACKET_REGION, 1])].tobytes()
        return bytes(self.hidden) + seen


def surroundings(type: str, ctx: bytes) -> Surroundings:
    """Make what a run with this context, or for packet types this packet, begins with."""
    if type not in PACKET_TYPES:
        content = np.frombuffer(bytearray(ctx), np.uint8) if ctx else np.zeros(0, np.uint8)
        return Surroundings(type, content, np.zeros(0, np.uint8))
    longest = PAGE_ROOM - HEADROOM if type == "xdp" else _LONGEST
    if not ETHERNET <= len(ctx) <= longest:
        raise WorkbenchError(
            f"a packet for {type} has {ETHERNET} to {longest} bytes, not {len(ctx)}; "
            "pass ctx=bytes(64)"
        )
    context = np.zeros(CONTEXTS[type].size, np.uint8)
    if type == "xdp":
        buffer = np.zeros(4096, np.uint8)
        buffer[HEADROOM : HEADROOM + len(ctx)] = np.frombuffer(ctx, np.uint8)
        context.view(np.uint32)[3] = _LOOPBACK
        return Surroundings(type, context, buffer, HEADROOM, len(ctx))
    hidden = ETHERNET if type == "socket_filter" else 0
    words = context.view(np.uint32)
    words[0] = len(ctx) - hidden
    words[1] = _packet_kind(ctx)
    words[4] = int.from_bytes(ctx[12:14], "little")
    words[10] = _LOOPBACK
    buffer = np.frombuffer(bytearray(ctx), np.uint8)
    return Surroundings(type, context, buffer, hidden, len(ctx) - hidden, hidden)


def _packet_kind(packet: bytes) -> int:
    """PACKET_HOST, BROADCAST, MULTICAST or OTHERHOST of a packet that arrives on loopback."""
    target = packet[:6]
    if target == bytes(6):
        return 0
    if target == b"\xff" * 6:
        return 1
    return 2 if target[0] & 1 else 3
