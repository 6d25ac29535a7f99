"""Which numbers mattered: the trail of a number back through a path, into its checkpoints.

When the verifier relies on a number, the registers and stack slots that it came from are marked
in every checkpoint on the way, so that a later path is only found equal to such a checkpoint if
its numbers are within. Source: __mark_chain_precision and backtrack_insn in kernel/bpf/verifier.c.
"""

from workbench.bpf import isa
from workbench.bpf.isa import Op
from workbench.verifier.paths.subject import Subject
from workbench.verifier.rules import facts
from workbench.verifier.values.domain import SCALAR, Entry, Frame, State
from workbench.verifier.values.trail import Trail

ARGUMENTS = 0b111110  # r1 to r5
ANY_TRAIL = 1 << 16
LOOK_UP = 8
"""Entries of a path's past between questions whether this was walked before.

1, 8 and 64 took the same time within the noise (1.3 s for all programs of hash, list and
allocator): it bounds the work on a past that many paths share.
"""
_KEEPS = facts.UNARY
_COMBINES = facts.ALU_BINARY
_COPIES = facts.MOVES | facts.CASTS
_GOES_ON = frozenset({Op.JA, Op.JA32, Op.MAY_GOTO, Op.INVALID})
_OUT_OF_REACH = facts.PACKET_LOADS


class Lost(Exception):
    """The trail cannot be followed; every number counts then."""


def mark(
    subject: Subject,
    state: State,
    registers: dict[int, int] | None = None,
    slots: dict[int, int] | None = None,
) -> bool:
    """Mark where these registers and slots of a state came from; whether a mark was new."""
    trail = Trail(len(state.frames) - 1)
    for frame, mask in (registers or {}).items():
        trail.registers[frame] |= mask
    for frame, mask in (slots or {}).items():
        trail.slots[frame] |= mask
    if trail.empty():
        return False
    try:
        return _follow(subject, state, trail)
    except Lost:
        mark_all(subject, state)
        return False


def _follow(subject: Subject, state: State, trail: Trail) -> bool:
    """Walk back to the state's last checkpoint, mark there, and go on from that checkpoint."""
    changed, later, last, skip = False, -1, state.pc, True
    while True:
        if subject.log:
            subject.log.trail_head(trail.frame, last, state.first, later)
        if last < 0 or not _walk_back(subject, state, trail, last, later, skip):
            return changed
        later, skip = state.first, False
        checkpoint = state.parent
        if checkpoint is None:
            break
        changed |= _mark_checkpoint(subject, checkpoint, trail)
        if trail.empty():
            return changed
        state, last = checkpoint, checkpoint.last
    raise Lost


def _walk_back(
    subject: Subject, state: State, trail: Trail, pc: int, later: int, skip: bool
) -> bool:
    """Follow the trail through one state's instructions; false when nothing is left of it."""
    history, count, matters = state.history, len(state.history), subject.matters
    walked = state.walked if subject.log is None else None
    while True:
        entry = history[count - 1] if count and history[count - 1].pc == pc else None
        if not skip:
            linked = entry is not None and entry.linked
            if linked or walked is None or (trail.registers[trail.frame] | ANY_TRAIL) & matters[pc]:
                _back_over(subject, pc, later, entry, trail)
                if trail.empty():
                    return False
            asked = entry is not None and not count % LOOK_UP and walked is not None
            if asked and _was_walked(state.walked, (count, pc, trail.frame), trail):
                return False
        skip = False
        later = pc
        if pc == state.first and (count == 0 or (count == 1 and history[0].pc == pc)):
            return True
        if entry is not None:
            pc, count = entry.previous, count - 1
        else:
            pc -= 1
        if pc < 0:
            return False


def _was_walked(
    walked: dict[tuple[int, int, int], tuple[int, ...]], at: tuple[int, int, int], trail: Trail
) -> bool:
    """Whether the same, or more, was looked for from here before."""
    now = (*trail.registers, *trail.slots)
    before = walked.get(at)
    if before is None:
        walked[at] = now
        return False
    if all(new & ~old == 0 for new, old in zip(now, before, strict=True)):
        return True
    walked[at] = tuple(new | old for new, old in zip(now, before, strict=True))
    return False


def registers_that_matter(i: facts.Instruction) -> int:
    """Which registers a trail must be looking for, a bit each, for an instruction to change it.

    Bit 16 stands for an instruction that may change any trail.
    """
    if i.op in _GOES_ON or i.op in _KEEPS:
        return 0
    if i.op in facts.JUMPS:
        return 0 if i.src == isa.ZERO else 1 << i.dst | 1 << i.src
    if i.op in _CALLS or i.op == Op.EXIT or i.op in facts.STORES or i.op in facts.UPDATES:
        return ANY_TRAIL
    return 1 << i.dst


def _spread(entry: Entry | None, trail: Trail) -> None:
    """Registers that learned of each other are marked together."""
    if entry is None or not entry.linked:
        return
    for frame, n, is_register in entry.linked:
        if (trail.registers if is_register else trail.slots)[frame] >> n & 1:
            break
    else:
        return
    for frame, n, is_register in entry.linked:
        (trail.registers if is_register else trail.slots)[frame] |= 1 << n


def _back_over(subject: Subject, pc: int, later: int, entry: Entry | None, trail: Trail) -> None:
    """What the trail looks like before the instruction at `pc`."""
    i = subject.program[pc]
    if subject.log and i.op != Op.INVALID:
        subject.log.trail_step(trail, pc)
    _spread(entry, trail)
    registers, frame = trail.registers, trail.frame
    dst = 1 << i.dst
    if i.op in _CALLS or i.op == Op.EXIT:
        _back_over_call(subject, pc, later, trail)
    elif i.op in facts.JUMPS:
        if i.src != isa.ZERO and registers[frame] & (dst | 1 << i.src):
            pointers = entry.pointers if entry else 0
            registers[frame] |= (0 if pointers & 1 else dst) | (0 if pointers & 2 else 1 << i.src)
    elif i.op in _GOES_ON:
        return
    elif i.op in facts.STORES or i.op in facts.UPDATES:
        _back_over_store(i, entry, trail)
    elif registers[frame] & dst and i.op not in _KEEPS:
        _back_over_result(i, entry, trail)
    _spread(entry, trail)


def _back_over_result(i: facts.Instruction, entry: Entry | None, trail: Trail) -> None:
    """An instruction that made the register that is looked for."""
    registers, frame = trail.registers, trail.frame
    source = 0 if i.src in (isa.ZERO, isa.FRAME_POINTER) else 1 << i.src
    if i.op in _COMBINES:
        registers[frame] |= source
        return
    registers[frame] &= ~(1 << i.dst)
    if i.op in _COPIES:
        registers[frame] |= source
    elif i.op in facts.LOADS and entry is not None and entry.slot is not None:
        trail.slots[entry.slot[0]] |= 1 << entry.slot[1]
    elif i.op in _OUT_OF_REACH:
        raise Lost


def _back_over_store(i: facts.Instruction, entry: Entry | None, trail: Trail) -> None:
    if trail.registers[trail.frame] >> i.dst & 1:
        raise Lost
    if entry is None or entry.slot is None:
        return
    frame, slot = entry.slot
    if trail.slots[frame] >> slot & 1:
        trail.slots[frame] &= ~(1 << slot)
        if i.src != isa.ZERO:
            trail.registers[trail.frame] |= 1 << i.src


_CALLS = frozenset({Op.CALL_HELPER, Op.CALL_KFUNC, Op.CALL_LOCAL, Op.CALLX})


def _back_over_call(subject: Subject, pc: int, later: int, trail: Trail) -> None:
    """Into a function at its exit, out of it at the call, over a helper or a global function."""
    i, registers, frame = subject.program[pc], trail.registers, trail.frame
    if i.op == Op.EXIT:
        from_call = later >= 1 and subject.program[later - 1].op == Op.CALL_LOCAL
        result = registers[frame] & 1 if from_call else 0
        registers[frame] &= ~(1 | (ARGUMENTS if later in subject.flow.callbacks else 0))
        if frame == 7:
            raise Lost
        trail.frame += 1
        registers[frame + 1] |= result
    elif i.op == Op.CALL_LOCAL and not subject.is_global(pc + 1 + i.off):
        passed = registers[frame] & ARGUMENTS
        _leave(trail)
        registers[trail.frame] |= passed
    elif pc in subject.flow.callbacks and pc != later - 1:
        _leave(trail)
    else:
        registers[frame] &= ~1


def _leave(trail: Trail) -> None:
    trail.registers[trail.frame] = trail.slots[trail.frame] = 0
    if trail.frame == 0:
        raise Lost
    trail.frame -= 1


def _mark_checkpoint(subject: Subject, checkpoint: State, trail: Trail) -> bool:
    """Mark what is looked for in a checkpoint; what was marked before needs no more looking."""
    changed = False
    for n in range(trail.frame, -1, -1):
        frame, precise = checkpoint.frames[n], checkpoint.precise[n]
        wanted = scalars(frame, trail.registers[n])
        spilled = spilled_scalars(frame, trail.slots[n])
        trail.registers[n], trail.slots[n] = wanted & ~precise[0], spilled & ~precise[1]
        changed |= bool(trail.registers[n] or trail.slots[n])
        precise[0] |= wanted
        precise[1] |= spilled
        if subject.log:
            subject.log.trail_parent(trail, n, checkpoint)
    return changed


def scalars(frame: Frame, mask: int) -> int:
    """Those of the registers that hold numbers."""
    registers, found = frame.registers, 0
    while mask:
        bit = mask & -mask
        mask ^= bit
        if registers[bit.bit_length() - 1].kind == SCALAR:
            found |= bit
    return found


def spilled_scalars(frame: Frame, mask: int) -> int:
    """Those of the stack slots that hold spilled numbers."""
    stack = frame.stack
    return sum(1 << n for n in _bits(mask) if n < len(stack) and stack[n].spilled_scalar)


def _bits(mask: int) -> list[int]:
    return [n for n in range(mask.bit_length()) if mask >> n & 1]


def mark_all(subject: Subject, state: State) -> None:
    """Mark every number in every checkpoint of a subject."""
    if subject.log:
        frame = len(state.frames) - 1
        subject.log.line(f"mark_precise: frame{frame}: falling back to forcing all scalars precise")
    checkpoint = state.parent
    while checkpoint is not None:
        for each, precise in zip(checkpoint.frames, checkpoint.precise, strict=True):
            registers = scalars(each, 0x3FF) & ~precise[0]
            slots = spilled_scalars(each, (1 << len(each.stack)) - 1) & ~precise[1]
            precise[0] |= registers
            precise[1] |= slots
            if subject.log:
                subject.log.forced(each.number, registers, slots)
        checkpoint = checkpoint.parent
