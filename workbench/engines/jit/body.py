"""The function being written: registers, fuel, ways out."""

from workbench.bpf.addresses import FRAME_BYTES, MAX_FRAMES, STACK_BYTES, frame_pointer
from workbench.bpf.isa import FRAME_POINTER, REGISTERS, ZERO, Op
from workbench.engines.jit.graph import ALWAYS_JUMPS, JUMPS, Function, Graph, Ins, following
from workbench.engines.jit.layout import GONE, LEFT, STUCK, Word
from workbench.engines.jit.streams import streams
from workbench.engines.jit.text import ALWAYS, LIKELY, UNLIKELY, Writer, literal
from workbench.engines.machine.state import BUDGET, FRAME_REGISTERS, MAY_GOTO_LIMIT, PC

NOWHERE = 1 << 40  # no place in the window is near it
ARGUMENTS = range(1, 6)
CALLS = (Op.CALL_LOCAL, Op.CALLX, Op.CALL_HELPER, Op.CALL_KFUNC)
FIRST_R10 = frame_pointer(0)


def fuel_needed(graph: Graph) -> int:
    """Most steps between two looks at the fuel, which jumps back and calls take.

    Between them slots only ascend, and begin again after each return, of which there may be 7; each
    may call a function that does not look when it begins.
    """
    return MAX_FRAMES * graph.slots * (1 + graph.unlooked)


class Signature:
    """What a function is given and gives back, apart from block, depth and fuel.

    After verification only those of r1 to r5 go in that it mentions or hands on, and only r0 comes
    out; a program that nobody has verified may read any register anywhere, and so may a function
    that goes on in the midst of a run. r0 always goes in: it is what a run that ends early shows.
    """

    def __init__(self, function: Function, verified: bool, goes_on: bool = False) -> None:
        given = {0, *_mentioned(function)} if verified and not goes_on else range(10)
        self.given = tuple(sorted(given))
        self.returned = (0,) if verified else tuple(range(6))
        self.result = "{" + ", ".join(["i64"] * (1 + len(self.returned))) + "}"


def _mentioned(function: Function) -> set[int]:
    """Those of r1 to r5 that a function may read."""
    if any(ins.op in CALLS for ins in function.instructions()):
        return set(ARGUMENTS)
    named = {register for ins in function.instructions() for register in (ins.dst, ins.src)}
    return named & set(ARGUMENTS)


_SHORT = 32  # instructions; in a longer loop a look at the fuel weighs little: not measured apart


def _turn(function: Function, head: int) -> list[int]:
    """The blocks of a short loop with one test that follow each other back to its head, or [].

    Such loops look at the fuel every other turn: without, memsum takes 1.24 and sieve 1.14 times as
    long. With more tests the first turn is often the last, and what was paid for the second must be
    taken back: no gain on the whole, and string search takes longer. Both are in `engines.jit`.
    """
    blocks, turn, steps, tests = function.blocks, [head], 0, 0
    while True:
        block = blocks[turn[-1]]
        last = block[-1]
        steps += len(block)
        tests += last.op in JUMPS - ALWAYS_JUMPS
        if steps > _SHORT or tests > 1 or last.enters or last.op == Op.EXIT:
            return []
        if last.op in JUMPS and last.target <= last.pc:
            return turn if last.target == head else []
        if last.op in ALWAYS_JUMPS or following(last) not in blocks:
            return []
        turn.append(following(last))


class Body:
    """Writes one function; every BPF register is an alloca, which LLVM turns into values."""

    def __init__(
        self, graph: Graph, function: Function, verified: bool, counts: frozenset[str]
    ) -> None:
        self.writer = Writer()
        self.graph = graph
        self.function = function
        self.verified = verified
        self.is_main = function.entry == graph.entry
        self.goes_on = self.is_main and graph.entry != 0
        self.signature = Signature(function, verified, self.goes_on)
        self.counts = counts
        self.later = 0  # instructions of the block after the one being written
        self.lengths = {first: len(block) for first, block in function.blocks.items()}
        turns = {head: _turn(function, head) for head in function.blocks}
        self.turns = {head: turn for head, turn in turns.items() if turn}
        self.turning: list[int] = []  # the blocks of a loop whose first turn is being written
        self.checked: set[int] = set()
        self.streams = streams(function)
        self.nears = [f"near{pc}" for pc in sorted(set(self.streams.values()))]
        self.needed = fuel_needed(graph)
        self.frame_is_fixed = verified  # nothing writes r10
        self.counts_rounds = function.is_leaf  # of may_goto, and tests them when it gets fuel
        self.depth = "0" if self.is_main and not graph.reenters else "%depth"

    def prologue(self) -> None:
        """Declare registers, fetch what does not change, and go to the first block."""
        writer = self.writer
        writer.pc = self.function.entry
        names = [*(f"r{n}" for n in range(REGISTERS)), "budget", "left", "back", "host"]
        names += self.nears
        for name in names:
            writer.do(f"%{name} = alloca i64")
        for name in ("window", "pages"):
            writer.do(f"%{name} = {self._fixed(Word[name.upper()], 'ptr')}")
        given = self.signature.given
        for register in range(10):
            self.set(register, f"%a{register}" if register in given else "0")
        used = "0"
        if self.depth != "0":
            used = writer.value(f"mul i64 %depth, {FRAME_BYTES}")
        self.set(FRAME_POINTER, writer.value(f"sub i64 {literal(FIRST_R10)}, {used}"))
        end = Word.STACK * 8 + STACK_BYTES
        at = writer.value(f"sub i64 {end}, {used}")
        writer.do(f"%frame = getelementptr i8, ptr %p, i64 {at}")
        budget = str(MAY_GOTO_LIMIT)
        if self.goes_on:
            address = writer.value(f"getelementptr i64, ptr {self.frame_of('0')}, i64 {BUDGET}")
            budget = writer.value(f"load i64, ptr {address}")
        writer.do(f"store i64 {budget}, ptr %budget")
        writer.do("store i64 %left_in, ptr %left")
        self.forget_pages()
        if self.graph.looks(self.function):
            self.jump_checked(self.function.entry)
        else:
            writer.goto(f"b{self.function.entry}")

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

    def word(self, word: Word, kind: str = "i64") -> str:
        """A word of the parameter block."""
        address = self.writer.value(f"getelementptr i64, ptr %p, i64 {int(word)}")
        return self.writer.value(f"load {kind}, ptr {address}")

    def fixed(self, word: Word, kind: str = "i64") -> str:
        """A word of the parameter block that never changes."""
        return self.writer.value(self._fixed(word, kind))

    def _fixed(self, word: Word, kind: str) -> str:
        address = self.writer.value(f"getelementptr i64, ptr %p, i64 {int(word)}")
        return f"load {kind}, ptr {address}{ALWAYS}"

    def put(self, word: Word, value: str) -> None:
        """Set a word of the parameter block."""
        address = self.writer.value(f"getelementptr i64, ptr %p, i64 {int(word)}")
        self.writer.do(f"store i64 {value}, ptr {address}")

    def save(self, registers: tuple[int, ...]) -> None:
        """Write registers (or the budget) to this function's frame in machine.regs."""
        writer, frame = self.writer, self.frame_of(self.depth)
        for register in registers:
            name = "%budget" if register == BUDGET else f"%r{register}"
            value = writer.value(f"load i64, ptr {name}")
            address = writer.value(f"getelementptr i64, ptr {frame}, i64 {register}")
            writer.do(f"store i64 {value}, ptr {address}")

    def frame_of(self, depth: str) -> str:
        """Where machine.regs has the registers of a function."""
        writer, base = self.writer, "0"
        if depth != "0":
            base = writer.value(f"mul i64 {depth}, {FRAME_REGISTERS}")
        regs = self.fixed(Word.REGS, "ptr")
        return writer.value(f"getelementptr i64, ptr {regs}, i64 {base}")

    def next_slot(self) -> str:
        """The slot that the interpreter's code has chosen to go on at."""
        control = self.fixed(Word.CONTROL, "ptr")
        address = self.writer.value(f"getelementptr i64, ptr {control}, i64 {PC}")
        return self.writer.value(f"load i64, ptr {address}")

    # steps, and what is uncommon

    def begin_block(self, first: int) -> None:
        """Pay for all steps of a block; a look at the fuel goes with it where one is wanted.

        %left counts spare steps: those beyond what is needed up to the next look, which is for a
        sign. A block that is looked at when it begins has an entry of its own, fuelN.
        """
        writer, cost = self.writer, self.lengths[first]
        writer.label(f"b{first}")
        left = writer.value("load i64, ptr %left")
        writer.do(f"store i64 {writer.value(f'sub i64 {left}, {cost}')}, ptr %left")
        writer.goto(f"body{first}")
        self.label_copy(first, f"body{first}")

    def label_copy(self, first: int, name: str) -> None:
        """Begin the code of a block, whose steps are paid for."""
        self.writer.label(name)
        if "blocks" in self.counts:
            self.increment(Word.EXECUTED, str(first))

    def increment(self, counters: Word, index: str) -> None:
        """Add 1 to a counter."""
        writer = self.writer
        base = self.fixed(counters, "ptr")
        address = writer.value(f"getelementptr i64, ptr {base}, i64 {index}")
        before = writer.value(f"load i64, ptr {address}")
        writer.do(f"store i64 {writer.value(f'add i64 {before}, 1')}, ptr {address}")

    def unspent(self, later: int) -> str:
        """Spare steps, of which this block has already taken `later` too many."""
        left = self.writer.value("load i64, ptr %left")
        return self.writer.value(f"add i64 {left}, {later}") if later else left

    def operands(self, pc: int, a: str, b: str) -> None:
        """Put an uncommon instruction's place, its operands and the unspent steps in the block."""
        self.put(Word.PC, str(pc))
        self.put(Word.A, a)
        self.put(Word.B, b)
        self.put(Word.LEFT, self.unspent(self.later + self.needed))

    def uncommon(self, pc: int, a: str, b: str) -> str:
        """Let the interpreter's code execute this instruction; returns control[STOP]."""
        self.operands(pc, a, b)
        self.put(Word.DEPTH, self.depth)
        return self.call_support(Word.UNCOMMON, "i64")

    def forget_pages(self) -> None:
        """No page is known to be present: pages may have been freed."""
        for name in self.nears:
            self.writer.do(f"store i64 {NOWHERE}, ptr %{name}")

    def call_support(self, function: Word, result: str) -> str:
        """Call a function of `support`, which leaves the registers of this one alone."""
        address = self.fixed(function, "ptr")
        call = f"call preserve_mostcc {result} {address}(ptr %p) cold"
        if result == "void":
            self.writer.do(call)
            return ""
        return self.writer.value(call)

    def checked_uncommon(self, pc: int, a: str, b: str) -> None:
        """Let the interpreter's code execute this instruction; go on only if the program runs on.

        A fault, or the end of the program, goes to `leave`.
        """
        status = self.uncommon(pc, a, b)
        running = self.writer.new_label()
        fine = self.writer.value(f"icmp eq i64 {status}, 0")
        self.writer.branch(fine, running, "leave", LIKELY)
        self.writer.label(running)

    # ways out

    def leave(self, pc: int) -> None:
        """Hand over to the interpreter before the instruction at `pc`."""
        self._hand_over(str(pc), self.depth, self.later + 1, STUCK)

    def leave_to(self, slot: str, depth: str) -> None:
        """Hand over to the interpreter at the function that this block's end has entered."""
        self._hand_over(slot, depth, 0, LEFT)

    def _hand_over(self, slot: str, depth: str, later: int, how: int) -> None:
        self.put(Word.LEFT, self.unspent(later + self.needed))
        self.put(Word.PC, slot)
        self.put(Word.HOW, str(how))
        self.put(Word.DEPTH, depth)
        self.writer.goto("leave")

    def finish(self, pc: int) -> None:
        """Return from the function; from the main one, the program ends at `pc`."""
        if self.is_main or self.function.entry in self.graph.starts:
            self.put(Word.PC, str(pc))
        self.give_back("load i64, ptr %left")

    def give_back(self, left: str) -> None:
        """Return spare steps and registers."""
        writer = self.writer
        values = [writer.value(left), *map(self.get, self.signature.returned)]
        result = "poison"
        for index, value in enumerate(values):
            kind = self.signature.result
            result = writer.value(f"insertvalue {kind} {result}, i64 {value}, {index}")
        writer.do(f"ret {self.signature.result} {result}")

    def epilogue(self) -> None:
        """Write the looks at the fuel, and the way out before the end: registers to memory."""
        for target in sorted(self.checked):
            self._check(target)
        writer = self.writer
        writer.pc = self.function.entry
        writer.label("leave")
        self.save((*range(REGISTERS), BUDGET))
        returns = self.fixed(Word.RETURNS, "ptr")
        address = writer.value(f"getelementptr i64, ptr {returns}, i64 {self.depth}")
        above = writer.value(f"getelementptr i64, ptr {address}, i64 1")
        back = writer.value("load i64, ptr %back")
        writer.do(f"store i64 {back}, ptr {above}")
        self.give_back(f"add i64 {GONE}, 0")

    def jump_checked(self, target: int) -> None:
        """Go to the block at `target` if there is fuel for what may come before the next look."""
        self.checked.add(target)
        self.writer.goto(f"fuel{target}")

    def _check(self, target: int) -> None:
        """What `jump_checked` leads to: cheap while there is fuel, else `refill`.

        Of a loop in `turns`, one turn and the first block of the next are paid for.
        """
        writer = self.writer
        writer.pc = target
        cost, paid = self.lengths[target], f"body{target}"
        if target in self.turns:
            cost, paid = (
                cost + sum(map(self.lengths.__getitem__, self.turns[target])),
                f"turn{target}",
            )
        writer.label(f"fuel{target}")
        before = writer.value("load i64, ptr %left")
        left = writer.value(f"sub i64 {before}, {cost}")
        writer.do(f"store i64 {left}, ptr %left")
        none = writer.value(f"icmp slt i64 {left}, 0")
        refill = writer.new_label()
        writer.branch(none, refill, paid, UNLIKELY)
        writer.label(refill)
        self.put(Word.LEFT, left)  # and not what was before: that would need another register
        self.put(Word.A, str(cost))
        self.put(Word.PC, str(target))
        self.put(Word.DEPTH, self.depth)
        if self.counts_rounds:
            self.put(Word.BUDGET, writer.value("load i64, ptr %budget"))
        more = self.call_support(Word.REFILL, "i64")
        self.forget_pages()
        writer.do(f"store i64 {more}, ptr %left")
        gone = writer.value(f"icmp eq i64 {more}, {GONE}")
        writer.branch(gone, "leave", f"b{target}", UNLIKELY)

    def fall_through(self, target: int) -> None:
        """Go to the block at `target`, which comes next."""
        if target in self.turning:
            self.writer.goto(f"turn{target}")
        else:
            self._take_back(self.later)
            self.writer.goto(f"b{target}")

    def _take_back(self, steps: int) -> None:
        """In a first turn: steps are paid for that are not to come."""
        if self.turning and steps:
            self.writer.do(f"store i64 {self.unspent(steps)}, ptr %left")

    def jump(self, ins: Ins, target: int) -> None:
        """Go to the block at `target`; a jump back looks at the fuel."""
        if self.turning and target == self.turning[0]:
            self._take_back(self.later - self.lengths[target])
            self.writer.goto(f"body{target}")
            return
        self._take_back(self.later)
        if target <= ins.pc:
            self.jump_checked(target)
        else:
            self.writer.goto(f"b{target}")
