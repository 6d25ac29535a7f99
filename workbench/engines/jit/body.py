"""The function being written for a program: registers, memory marks, ways out."""

from workbench.addresses import MAX_FRAMES
from workbench.engines.jit.graph import Graph, Ins
from workbench.engines.jit.layout import EXITED, LEFT, Word
from workbench.engines.jit.text import LIKELY, PRIVATE, Writer, literal
from workbench.engines.machine import BUDGET, O_VALUE, REGISTERS
from workbench.isa import ZERO

COLD = "call preserve_mostcc i64 @cold(ptr %p, i64 {}, i64 {}, i64 {}, i64 {}, i64 {})"
REFILL = "call preserve_mostcc i64 @refill(ptr %p, i64 {}, i64 {})"


def fuel_needed(slots: int) -> int:
    """Most steps between two looks at the fuel, which jumps back and calls take.

    Between them slots only ascend, and begin again after each return, of which there may be 7.
    """
    return MAX_FRAMES * slots


class Body:
    """Writes one function; every BPF register is an alloca, which LLVM turns into values."""

    def __init__(self, graph: Graph, slots: int, has_calls: bool) -> None:
        self.writer = Writer()
        self.graph = graph
        self.slots = slots
        self.has_calls = has_calls
        self.later = 0  # instructions of the block after the one being written
        self.checked: set[int] = set()
        self.needed = fuel_needed(slots)

    # registers and state

    def get(self, register: int) -> str:
        """The value of a register."""
        if register == ZERO:
            return "0"
        return self.writer.value(f"load i64, ptr %r{register}")

    def set(self, register: int, value: str) -> None:
        """Assign a register."""
        self.writer.do(f"store i64 {value}, ptr %r{register}")

    def operand(self, ins: Ins) -> str:
        """The second operand: regs[src] + imm."""
        if ins.src == ZERO:
            return literal(ins.imm)
        value = self.get(ins.src)
        return self.writer.value(f"add i64 {value}, {literal(ins.imm)}") if ins.imm else value

    def depth(self) -> str:
        """Number of callers."""
        return self.writer.value("load i64, ptr %depth") if self.has_calls else "0"

    def parameter(self, word: Word) -> str:
        """A word of the parameter block."""
        address = self.writer.value(f"getelementptr i64, ptr %p, i64 {int(word)}")
        return self.writer.value(f"load i64, ptr {address}")

    def frame_word(self, depth: str, register: int) -> str:
        """Address of a register of the frame at some depth, in machine.regs."""
        index = str(register)
        if depth != "0":
            base = self.writer.value(f"mul i64 {depth}, {REGISTERS}")
            index = self.writer.value(f"add i64 {base}, {register}")
        return self.writer.value(f"getelementptr i64, ptr %regs, i64 {index}")

    def save(self, depth: str, register: int) -> None:
        """Write a register (or the budget) to its frame in memory."""
        value = self.writer.value(f"load i64, ptr {self._name(register)}")
        self.writer.do(f"store i64 {value}, ptr {self.frame_word(depth, register)}{PRIVATE}")

    def restore(self, depth: str, register: int) -> None:
        """Read a register (or the budget) from its frame in memory."""
        address = self.frame_word(depth, register)
        value = self.writer.value(f"load i64, ptr {address}{PRIVATE}")
        self.writer.do(f"store i64 {value}, ptr {self._name(register)}")

    @staticmethod
    def _name(register: int) -> str:
        return "%budget" if register == BUDGET else f"%r{register}"

    # steps, and what is uncommon

    def unspent(self, later: int) -> str:
        """Spare steps, of which this block has already taken `later` too many.

        %left counts those beyond what is needed up to the next check, which then asks for a sign.
        """
        left = self.writer.value("load i64, ptr %left")
        return self.writer.value(f"add i64 {left}, {later}") if later else left

    def cold(self, pc: int, a: str, b: str) -> str:
        """Let the interpreter's code execute this instruction; returns control[STOP]."""
        return self.writer.value(
            COLD.format(pc, a, b, self.depth(), self.unspent(self.later + self.needed))
        )

    def out(self, index: int = O_VALUE) -> str:
        """A result of `cold`."""
        address = self.writer.value(f"getelementptr i64, ptr %out, i64 {index}")
        return self.writer.value(f"load i64, ptr {address}{PRIVATE}")

    def checked_cold(self, pc: int, a: str, b: str) -> None:
        """As `cold`; a fault, or the end of the program, ends the run."""
        status = self.cold(pc, a, b)
        running, stopped = self.writer.new_label(), self.writer.new_label()
        fine = self.writer.value(f"icmp eq i64 {status}, 0")
        self.writer.branch(fine, running, stopped, LIKELY)
        self.writer.label(stopped)
        self.writer.do(f"store i64 {self.unspent(self.later)}, ptr %left")
        self.writer.goto("stopped")
        self.writer.label(running)

    # ways out

    def exit(self, pc: int) -> None:
        """End the program."""
        self.writer.do(f"store i64 {pc}, ptr %pc")
        self.writer.do(f"store i64 {EXITED}, ptr %how")
        self.writer.goto("finish")

    def leave(self, pc: int) -> None:
        """Hand over to the interpreter before the instruction at `pc`."""
        self.writer.do(f"store i64 {self.unspent(self.later + 1)}, ptr %left")
        self.writer.do(f"store i64 {pc}, ptr %pc")
        self.writer.do(f"store i64 {LEFT}, ptr %how")
        self.writer.goto("leave")

    def jump_checked(self, target: int) -> None:
        """Go to the block at `target` if there is fuel for what may come before the next check."""
        self.checked.add(target)
        self.writer.goto(f"fuel{target}")

    def write_checks(self) -> None:
        """The blocks that `jump_checked` leads to: cheap while there is fuel, else `refill`."""
        writer = self.writer
        for target in sorted(self.checked):
            writer.label(f"fuel{target}")
            left = writer.value("load i64, ptr %left")
            enough = writer.value(f"icmp sge i64 {left}, 0")
            refill, given, none = (writer.new_label() for _ in range(3))
            writer.branch(enough, f"b{target}", refill, LIKELY)
            writer.label(refill)
            rest = writer.value(f"add i64 {left}, {self.needed}")
            more = writer.value(REFILL.format(rest, self.needed))
            writer.branch(writer.value(f"icmp sge i64 {more}, 0"), given, none, LIKELY)
            writer.label(given)
            writer.do(f"store i64 {writer.value(f'sub i64 {more}, {self.needed}')}, ptr %left")
            writer.goto(f"b{target}")
            writer.label(none)
            writer.do(f"store i64 {target}, ptr %pc")
            writer.do(f"store i64 {writer.value(f'sub i64 0, {more}')}, ptr %how")
            writer.goto("leave")

    def jump(self, ins: Ins, target: int) -> None:
        """Go to the block at `target`; a jump back looks at the fuel."""
        if target <= ins.pc:
            self.jump_checked(target)
        else:
            self.writer.goto(f"b{target}")
