"""Every placement policy the obvious way: one list of pages, searched from end to end."""

from itertools import groupby

POLICIES = ("range_tree", "maple", "first_fit", "next_fit", "best_fit", "worst_fit", "buddy")


class Naive:
    """Pages as a list of states; placements as the policies of models.allocators give them."""

    def __init__(self, policy: str, pages: int) -> None:
        self.policy, self.state, self.rover = policy, ["free"] * pages, 0
        self.newest = {(0, pages): 0}  # the kernel's ranges and when each was inserted
        self.clock = 0
        self.start: dict[int, int] = {}

    def extents(self) -> list[tuple[int, int]]:
        found, at = [], 0
        for state, run in groupby(self.state):
            length = len(list(run))
            if state == "free":
                found.append((at, length))
            at += length
        return found

    def blocks(self) -> list[tuple[int, int]]:
        """Free blocks of a buddy system: the largest aligned ones."""
        found = []
        for first, length in self.extents():
            at, end = first, first + length
            while at < end:
                size = at & -at or 1 << 20
                while size > end - at:
                    size //= 2
                found.append((at, size))
                at += size
        return found

    def choose(self, count: int) -> int:
        fits = [extent for extent in self.extents() if extent[1] >= count]
        if self.policy == "buddy":
            whole = self.granted(count)
            blocks = [(size, at) for at, size in self.blocks() if size >= whole]
            return min(blocks)[1] if blocks else -1
        if not fits:
            return -1
        if self.policy == "range_tree":
            return min(fits, key=lambda extent: (extent[1], -self.newest[extent]))[0]
        if self.policy == "best_fit":
            return min(fits, key=lambda extent: (extent[1], extent[0]))[0]
        if self.policy == "worst_fit":
            return min(fits, key=lambda extent: (-extent[1], extent[0]))[0]
        if self.policy == "next_fit":
            after = [extent for extent in fits if sum(extent) > self.rover]
            return min(after or fits)[0]
        return min(fits)[0]

    def granted(self, count: int) -> int:
        return 1 << (count - 1).bit_length() if self.policy == "buddy" else count

    def renew(self, before: list[tuple[int, int]]) -> None:
        """Number the extents that were not there before: the left one first (range_tree_clear)."""
        for extent in self.extents():
            if extent not in before:
                self.clock += 1
                self.newest[extent] = self.clock

    def set(self, first: int, count: int, state: str) -> None:
        before = self.extents()
        self.state[first : first + count] = [state] * count
        self.renew(before)

    def request(self, kind: str, page: int, count: int, block: int, offset: int) -> int:
        """Carry out one request; returns the page it got, or -1."""
        pages = len(self.state)
        if kind == "alloc":
            first = self.choose(count) if page < 0 else page
            if first < 0 or any(s != "free" for s in self.state[first : first + count]):
                return -1
            if first + count > pages:
                return -1
            whole = self.granted(count)
            whole = whole if set(self.state[first : first + whole]) == {"free"} else count
            self.set(first, whole, "padding")
            self.state[first : first + count] = ["live"] * count
            self.rover, self.start[block] = first + whole, first
            return first
        if kind == "free":
            if block not in self.start:
                return -1
            first = self.start[block] + offset
            last = first + count
            while last < pages and self.state[last] == "padding":
                last += 1
            self.set(first, last - first, "free")
            return first
        if kind == "reserve":
            if page + count > pages or any(s != "free" for s in self.state[page : page + count]):
                return -1
            self.set(page, count, "reserved")
            self.start[block], self.rover = page, page + count
            return page
        if page < pages and self.state[page] in ("free", "reserved"):
            if self.state[page] == "free":
                self.rover = page + 1
            self.set(page, 1, "live")
            self.start[block] = page
        return page
