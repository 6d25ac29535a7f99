"""A trail: what is looked for while a number is traced back to where it came from."""


class Trail:
    """Registers and stack slots that are looked for, a bit each, per frame; `frame` is where."""

    __slots__ = ("frame", "registers", "slots")

    def __init__(self, frame: int) -> None:
        self.registers, self.slots, self.frame = [0] * 9, [0] * 9, frame

    def empty(self) -> bool:
        """Whether nothing is left to look for."""
        return not any(self.registers) and not any(self.slots)
