"""What the generator knows about registers and stack at one point of a function."""

SCALAR, ARENA, CTX, FRAME = "scalar", "arena", "ctx", "frame"  # kinds of registers


class State:
    """Kind of every register, initialised stack bytes, stack slots that hold an arena pointer.

    Stack offsets are relative to r10, hence negative.
    """

    def __init__(self, stack_bytes: int) -> None:
        self.kinds: list[str | None] = [None] * 11
        self.stack_bytes = stack_bytes
        self.initialised: set[int] = set()
        self.spilled: set[int] = set()

    def copy(self) -> "State":
        other = State(self.stack_bytes)
        other.kinds = self.kinds[:]
        other.initialised, other.spilled = set(self.initialised), set(self.spilled)
        return other

    def meet(self, other: "State") -> None:
        """Keep what two paths agree on; what they differ in becomes unusable."""
        pairs = zip(self.kinds, other.kinds, strict=True)
        self.kinds = [mine if mine == theirs else None for mine, theirs in pairs]
        self.initialised &= other.initialised
        for slot in self.spilled ^ other.spilled:
            self.initialised -= set(range(slot, slot + 8))
        self.spilled &= other.spilled

    def write(self, off: int, size: int, arena: bool = False) -> None:
        """A stack store: any destroys a spilled pointer, an aligned 8-byte one may make it."""
        self.initialised |= set(range(off, off + size))
        self.spilled.discard(off & ~7)
        if arena:
            self.spilled.add(off)

    def readable(self, off: int, size: int) -> bool:
        """Whether a load is defined; a spilled pointer is only read as a whole."""
        whole = size == 8 or off & ~7 not in self.spilled
        return whole and self.initialised >= set(range(off, off + size))
