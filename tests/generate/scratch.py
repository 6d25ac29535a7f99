"""A function that has maps and callbacks: where keys and values lie, and what callbacks start with.

r10 - stack_bytes - 72    the key that a callback was called for, 8 bytes
                  - 64    iterator, 8
                  - 56    key, 8
                  - 48    value, 16
                  - 32    words that a callback is given the address of, 32
                   - 0    what `State` knows
"""

from support import wire as b

from generate.body import Body, Function, Shared
from generate.state import ARENA, CTX, SCALAR

STATE, PACKET, OUTER, ENTRY = "state", "packet", "outer", "entry"  # further kinds of registers
ROOM, SHARED_BYTES, VALUE_BYTES = 72, 32, 16


class MixedBody(Body):
    """Like `Body`; `packet`, `outer` and `entry` are registers kept for pointers."""

    def __init__(self, shared: Shared, function: Function, stack_bytes: int) -> None:
        super().__init__(shared, function, stack_bytes)
        bottom = -stack_bytes - ROOM
        self.own_at, self.iterator_at, self.key_at = bottom, bottom + 8, bottom + 16
        self.value_at, self.words_at = bottom + 24, bottom + 40
        self.packet: int | None = None
        self.outer: int | None = None
        self.entry: int | None = None
        if function.callback:
            self._begin_callback()

    def keep(self, register: int, kind: str) -> int:
        """Take a register out of what actions may overwrite."""
        self.state.kinds[register] = kind
        self.reserved.add(register)
        return register

    def keep_packet(self) -> None:
        """A packet program's context stays in r7; results go to the map `state`, by r6."""
        self.writer.alu(b.MOV, 7, src=1)
        self.packet = self.keep(7, PACKET)
        self._keep_state()

    def _keep_state(self) -> None:
        self.writer.map_value(6, "state", 0)
        self.ctx = self.keep(6, CTX)

    def _begin_callback(self) -> None:
        """Arguments: index and words; or map, key, value and words."""
        kinds, each = self.state.kinds, self.function.callback != "loop"
        if OUTER in self.function.arguments:
            self.writer.alu(b.MOV, 7, src=4 if each else 2)
            self.outer = self.keep(7, OUTER)
        if each:
            self.writer.alu(b.MOV, 8, src=3)
            self.entry = self.keep(8, ENTRY)
            self.writer.load(4, 1, 2, 0)
            self.writer.store(4, 10, self.own_at, 1)
        kinds[1:6] = [SCALAR, None, None, None, None]
        if self.shared.kind != "syscall":
            self._keep_state()

    def finish(self) -> None:
        """A callback tells whether to go on; it may take out the entry that it was called for."""
        if not self.function.callback:
            super().finish()
            return
        name = self.function.callback
        if name in ("hash", "lazy", "hash_cpu") and self.chance(0.25):
            self.writer.map(1, name)
            self.writer.alu(b.MOV, 2, src=10)
            self.writer.alu(b.ADD, 2, imm=self.own_at)
            self.writer.helper(3)
        found = self.pick(SCALAR)
        if found is not None and found > 5 and self.chance(0.3):
            self.writer.alu(b.MOV, 0, src=found)
            self.writer.alu(b.AND, 0, imm=1)
        else:
            self.writer.alu(b.MOV, 0, imm=int(self.chance(0.1)))
        self.writer.emit(0x95)

    def digest(self) -> None:
        """As for others; an address of a map's value is none of the result."""
        if self.state.kinds[0] not in (SCALAR, ARENA):
            self.state.kinds[0] = None
        super().digest()

    def remake(self, register: int, kind: str) -> None:
        if kind != STATE:
            super().remake(register, kind)
            return
        self.writer.map_value(register, "state", 0)
        self.state.kinds[register] = STATE

    def stack_address(self, register: int, off: int) -> None:
        self.writer.alu(b.MOV, register, src=10)
        self.writer.alu(b.ADD, register, imm=off)

    def store_word(self, off: int) -> None:
        """Eight bytes of the stack become something; registers keep their kinds."""
        found = self.pick(SCALAR)
        if found is None or self.chance(0.4):
            self.writer.store_constant(8, 10, off, self.immediate())
        else:
            self.writer.store(8, 10, off, found)

    def called(self, returns: bool = True) -> None:
        """r1 to r5 are lost, r0 is a number, or lost too."""
        self.state.kinds[:6] = [SCALAR if returns else None, None, None, None, None, None]
