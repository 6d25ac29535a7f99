"""The log of a verification, in the form of Linux 6.18 at levels 1 and 2.

At level 1 what was said of a path that turned out well is taken back when the next one begins, so
that a refusal's log shows the path that led to it; level 2 keeps all and says how numbers were
traced. Sources: do_check in kernel/bpf/verifier.c, print_insn_state in kernel/bpf/log.c.
"""

from workbench.bpf.isa import REGISTERS
from workbench.bpf.program import Program
from workbench.verifier.log.wording import frame_text, instruction_wording, slots_text
from workbench.verifier.values.domain import State
from workbench.verifier.values.trail import Trail

COLUMN, TAB = 40, 8


class Log:
    """Lines of text, newest last; `level` is 1 or 2."""

    def __init__(self, program: Program, level: int) -> None:
        self.program, self.level = program, level
        self.lines: list[str] = []
        self._source: int | None = None
        self._open = False
        self._texts: dict[int, str] = {}

    @property
    def position(self) -> int:
        """Where the log may be cut off again."""
        return len(self.lines)

    def clear(self) -> None:
        """Begin again, as when the program is verified anew."""
        self.lines.clear()
        self._open, self._source = False, None

    def cut(self, position: int) -> None:
        """Take back what was said since."""
        if self.level < 2:
            del self.lines[position:]
        self._open = False

    def say(self, text: str) -> None:
        """A line at both levels."""
        self.lines += text.split("\n")
        self._open = False

    def line(self, text: str) -> None:
        """A line at level 2."""
        if self.level > 1:
            self.say(text)

    def _text(self, pc: int) -> str:
        if pc not in self._texts:
            self._texts[pc] = instruction_wording(self.program, pc)
        return self._texts[pc]

    def source(self, pc: int) -> None:
        """The source line of an instruction, where it is another than before."""
        found = self.program.line_of(pc)
        if found is None or (self._source == found.pc and self.lines):
            return
        self._source = found.pc
        file = found.file.rsplit("/", 1)[-1]
        place = f" @ {file}:{found.line}" if file else f" @ :{found.line}"
        self.say(f"; {found.text.strip()}{place}")

    def instruction(self, pc: int) -> None:
        """An instruction that is about to be followed."""
        self.source(pc)
        self.say(f"{pc}: {self._text(pc)}")
        self._open = True

    def state(self, pc: int, state: State, registers: int, slots: int) -> None:
        """What an instruction changed; behind it, if nothing was said since."""
        text = frame_text(state.frames[-1], state.locks, registers, slots)
        if self._open:
            width = len(self.lines[-1]) + 1
            pad = -(-max(width + TAB // 2, COLUMN) // TAB) * TAB - width - 1
            self.lines[-1] += " " * pad + f" ;{text}"
        else:
            self.lines.append(f"{pc}:{text}")
        self._open = False

    def whole(self, head: str, state: State, frame: int = -1) -> None:
        """All that is known in a frame."""
        self.say(head + frame_text(state.frames[frame], state.locks))

    def entered(self, state: State) -> None:
        """A function was called."""
        self.say("caller:")
        self.whole("", state, -2)
        self.say("callee:")
        self.whole("", state)

    def returning(self, state: State, target: int) -> None:
        """A function is about to return to a slot."""
        self.say("returning from callee:")
        self.whole("", state)
        self.say(f"to caller at {target}:")
        self.whole("", state, -2)

    def loop(self, old: State, new: State) -> None:
        """A loop that changes nothing."""
        self.source(new.pc)
        self.say(f"infinite loop detected at insn {new.pc}")
        self.whole("cur state:", new)
        self.whole("old state:", old)

    def loop_limit(self, frame: int) -> None:
        """A bpf_loop entered its callback as often as it can."""
        self.line(f"frame{frame} bpf_loop iteration limit reached")

    def trail_head(self, frame: int, last: int, first: int, later: int) -> None:
        """A number is traced back through the slots since a checkpoint."""
        self.line(
            f"mark_precise: frame{frame}: last_idx {last} first_idx {first} subseq_idx {later} "
        )

    def trail_step(self, trail: Trail, pc: int) -> None:
        """An instruction that a number is traced back over."""
        if self.level > 1:
            regs, slots = trail.registers[trail.frame], trail.slots[trail.frame]
            looked = f"regs={_registers(regs)} stack={slots_text(slots)}"
            frame = trail.frame
            self.say(f"mark_precise: frame{frame}: {looked} before {pc}: {self._text(pc)}")

    def trail_parent(self, trail: Trail, frame: int, state: State) -> None:
        """A checkpoint in which numbers are marked."""
        if self.level > 1:
            looked = f"regs={_registers(trail.registers[frame])} "
            looked += f"stack={slots_text(trail.slots[frame])}"
            text = frame_text(state.frames[frame], state.locks, precise=state.precise[frame])
            self.say(f"mark_precise: frame{frame}: parent state {looked}: {text}")

    def forced(self, frame: int, registers: int, slots: int) -> None:
        """Marks of all numbers in a frame of a checkpoint."""
        names = [f"r{n}" for n in range(10) if registers >> n & 1]
        names += [f"fp-{8 * n + 8}" for n in range(64) if slots >> n & 1]
        for name in names:
            self.line(f"force_precise: frame{frame}: forcing {name} to be precise")

    def propagating(self, frame: int, registers: int, slots: int) -> None:
        """Marks of a checkpoint that are carried to a state that is equal to it."""
        names = [f"r{n}" for n in range(10) if registers >> n & 1]
        names += [f"fp-{8 * n + 8}" for n in range(64) if slots >> n & 1]
        self.line(f"frame {frame}: propagating {','.join(names)}")


def _registers(mask: int) -> str:
    return ",".join(f"r{n}" for n in range(REGISTERS) if mask >> n & 1)
