"""Actions of packet programs: their packet, and the programs that they go to."""

from support import wire as b

from generate.scratch import VALUE_BYTES, MixedBody
from generate.state import SCALAR
from generate.tables import keep_result, put_value

DATA = {"tc": (76, 80), "xdp": (0, 4)}  # offsets of data and data_end in the context


def look_inside(body: MixedBody) -> None:
    """Load and store in the packet, behind the check that the verifier wants."""
    if body.packet is None:
        return
    data, end = DATA[body.shared.kind]
    length = body.rng.choice((8, 14, 20, 34, 64))
    body.writer.load(4, 1, body.packet, data)
    body.writer.load(4, 2, body.packet, end)
    body.writer.alu(b.MOV, 3, src=1)
    body.writer.alu(b.ADD, 3, imm=length)
    body.state.kinds[1:4] = [None] * 3
    short = body.writer.jump(b.JGT, 3, src=2)
    other = body.state.copy()
    for _ in range(body.rng.randrange(1, 4)):
        size = body.rng.choice((1, 2, 4, 8))
        off, src = body.rng.randrange(length - size + 1), body.pick(SCALAR)
        if body.chance(0.5):
            dst = body.target(1)
            body.writer.load(size, dst, 1, off)
            body.state.kinds[dst] = SCALAR
        elif src is None or body.chance(0.3):
            body.writer.store_constant(size, 1, off, body.immediate())
        else:
            body.writer.store(size, 1, off, src)
    body.writer.land(short)
    body.state.meet(other)


def copy_bytes(body: MixedBody) -> None:
    """bpf_skb_load_bytes and bpf_skb_store_bytes."""
    if body.packet is None or body.shared.kind != "tc":
        return
    put_value(body)
    store = body.chance(0.5)
    body.writer.alu(b.MOV, 1, src=body.packet)
    body.writer.alu(b.MOV, 2, imm=body.rng.choice((0, 1, 13, 20, 48, 60, 64, 1000, -1)))
    body.stack_address(3, body.value_at)
    body.writer.alu(b.MOV, 4, imm=body.rng.randrange(1, VALUE_BYTES + 1))
    if store:
        body.writer.alu(b.MOV, 5, imm=body.rng.choice((0, 0, 0, 1, 2, 8)))
    body.writer.helper(9 if store else 26)
    body.called()
    keep_result(body)
    body.writer.load(8, 1, 10, body.value_at)
    body.state.kinds[1] = SCALAR


def checksum(body: MixedBody) -> None:
    """bpf_csum_diff of two values, or of one."""
    if body.packet is None:
        return
    put_value(body)
    for register in (1, 3):
        if body.chance(0.75):
            body.stack_address(register, body.value_at)
            body.writer.alu(b.MOV, register + 1, imm=body.rng.choice((4, 8, 12, 16, 3, 6)))
        else:
            body.writer.alu(b.MOV, register, imm=0)
            body.writer.alu(b.MOV, register + 1, imm=0)
    body.writer.alu(b.MOV, 5, imm=body.immediate())
    body.writer.helper(28)
    body.called()
    keep_result(body)


def adjust(body: MixedBody) -> None:
    """Move the packet's ends."""
    if body.packet is None or body.shared.kind != "xdp":
        return
    body.writer.alu(b.MOV, 1, src=body.packet)
    body.writer.alu(b.MOV, 2, imm=body.rng.choice((-8, -4, 0, 3, 4, 8, 20, 100, -300, 5000)))
    body.writer.helper(body.rng.choice((44, 65)))
    body.called()
    keep_result(body)


def go_on(body: MixedBody) -> None:
    """A tail call, from main; where there is no program it does nothing."""
    known = any(row.type == "prog_array" for row in body.shared.maps)
    if body.packet is None or not known or body.holding:
        return
    src = body.changeable(SCALAR)
    if src is not None and body.chance(0.5):
        body.writer.alu(b.AND, src, imm=3)
        body.writer.alu(b.MOV, 3, src=src)
    else:
        body.writer.alu(b.MOV, 3, imm=body.rng.choice((0, 1, 2, 2, 3, 77, -1)))
    body.writer.alu(b.MOV, 1, src=body.packet)
    body.writer.map(2, "jumps")
    body.writer.helper(12)
    body.called(returns=False)


ACTIONS = ((look_inside, 3), (copy_bytes, 2), (checksum, 1), (adjust, 1), (go_on, 1.5))
