"""The naive machine's arena: a dict of pages and a list of free ranges, in plain Python.

Pages are keyed by their number in the 4 GiB window, which the low half of a user address indexes.
"""

from collections.abc import Iterator, Sequence

M32, M64 = (1 << 32) - 1, (1 << 64) - 1
PAGE, PAGE_MASK = 4096, ~4095
EINVAL, EBUSY = 22, 16
SEGV_ON_FAULT, NO_USER_CONV = 1 << 17, 1 << 18


class FreedBelow(Exception):
    """Pages below the start of the arena were freed, which corrupts it on Linux 6.18: never try."""


class FreeRanges:
    """Free page ranges in the order Linux (6.13 and newer) searches them.

    `ranges` holds (first page, last page, stamp), sorted by address; a range gets a new stamp
    whenever it is inserted or changed.
    """

    def __init__(self, pages: int) -> None:
        self.ranges: list[tuple[int, int, int]] = []
        self.stamp = 0
        self.insert(0, pages - 1)

    def insert(self, first: int, last: int) -> None:
        self.stamp += 1
        self.ranges = sorted([*self.ranges, (first, last, self.stamp)])

    def find(self, count: int) -> int | None:
        """First page of the smallest range that fits; among equals the one inserted last."""
        fitting = [
            (last - first, -stamp, first)
            for first, last, stamp in self.ranges
            if last - first + 1 >= count
        ]
        return min(fitting)[2] if fitting else None

    def contains(self, first: int, count: int) -> bool:
        """Whether all the pages lie in one free range."""
        return any(a <= first and first + count - 1 <= b for a, b, _ in self.ranges)

    def remove(self, first: int, count: int) -> None:
        """Take pages out, free or not; remainders are inserted anew, the left one first."""
        last = first + count - 1
        for old in [r for r in self.ranges if r[0] <= last and first <= r[1]]:
            self.ranges.remove(old)
            if old[0] < first:
                self.insert(old[0], first - 1)
            if last < old[1]:
                self.insert(last + 1, old[1])

    def add(self, first: int, count: int) -> None:
        """Give pages back; the range joins its neighbours and is inserted anew."""
        if self.contains(first, count):
            return
        self.remove(first, count)
        last = first + count - 1
        joined = [r for r in self.ranges if r[1] == first - 1 or r[0] == last + 1]
        self.ranges = [r for r in self.ranges if r not in joined]
        self.insert(min([first, *(r[0] for r in joined)]), max([last, *(r[1] for r in joined)]))


class NaiveArena:
    """An arena of `size` pages, mapped by its user in full at `user_start`."""

    def __init__(self, size: int, user_start: int, flags: int = 0) -> None:
        self.size, self.user_start = size, user_start
        self.segv_on_fault, self.no_user_conv = (
            bool(flags & SEGV_ON_FAULT),
            bool(flags & NO_USER_CONV),
        )
        self.free = FreeRanges(size)
        self.pages: dict[int, bytearray] = {}  # by window page number

    def user_address(self, low: int) -> int:
        """The user's 64-bit address of a window position."""
        return (self.user_start & ~M32) | low

    def page_number(self, address: int) -> int:
        """Page relative to the start of the arena; only the low half of the address counts."""
        return ((address - self.user_start) & M32) // PAGE

    def window_page(self, page: int) -> int:
        return (self.user_start & M32) // PAGE + page

    # accesses by the program, at window positions that may lie in the guards around the window

    def read(self, position: int, size: int) -> int | None:
        """Content, or None if any byte lies in an absent page."""
        cells = [self.cell(at) for at in range(position, position + size)]
        if any(page is None for page, _ in cells):
            return None
        return sum(page[at] << 8 * i for i, (page, at) in enumerate(cells) if page is not None)

    def write(self, position: int, size: int, value: int) -> None:
        """Dropped as a whole if any byte lies in an absent page."""
        cells = [self.cell(at) for at in range(position, position + size)]
        if any(page is None for page, _ in cells):
            return
        for i, (page, at) in enumerate(cells):
            if page is not None:
                page[at] = value >> 8 * i & 0xFF

    def cell(self, position: int) -> tuple[bytearray | None, int]:
        return self.pages.get(position // PAGE), position % PAGE

    # kernel functions

    def call(self, name: str, arguments: Sequence[int]) -> int | None:
        """Call a kernel function with what r2 to r5 hold; None from one without a result."""
        address, count, node, flags = arguments
        if name == "bpf_arena_alloc_pages":
            return self.alloc(address, count & M32, node & M32, flags)
        if name == "bpf_arena_reserve_pages":
            return self.reserve(address, count & M32) & M32
        self.release(address, count & M32)
        return None

    def alloc(self, address: int, count: int, node: int = M32, flags: int = 0) -> int:
        """User address of `count` zeroed pages, or 0."""
        if flags or not 0 < count <= self.size or node not in (0, M32):
            return 0
        if address == 0:
            page = self.free.find(count)
        else:
            page = self.page_number(address)
            if address % PAGE or not self.free.contains(page, count):
                page = None
        if page is None:
            return 0
        self.free.remove(page, count)
        for number in range(page, page + count):
            self.pages[self.window_page(number)] = bytearray(PAGE)
        return self.user_start + page * PAGE

    def release(self, address: int, count: int) -> None:
        """Free pages, silently; the range is cut at the end of the arena."""
        if address == 0 or count == 0:
            return
        first = self.page_number(address & PAGE_MASK)
        last = min(first + count, self.size) - 1
        if first > last:
            return
        if address & M32 & PAGE_MASK < self.user_start & M32:
            raise FreedBelow(hex(address))
        self.free.add(first, last - first + 1)
        for number in range(first, last + 1):
            self.pages.pop(self.window_page(number), None)

    def reserve(self, address: int, count: int) -> int:
        """Take free pages out of the allocator without allocating them: 0 or a negative errno."""
        if count == 0 or address % PAGE:
            return 0
        page = self.page_number(address)
        if page + count > self.size:
            return -EINVAL
        if not self.free.contains(page, count):
            return -EBUSY
        self.free.remove(page, count)
        return 0

    # the user

    def touch(self, page: int) -> bytearray:
        """A user access to a page, which populates it unless the arena says SIGSEGV."""
        number = self.window_page(page)
        if number not in self.pages:
            if self.segv_on_fault:
                raise IndexError(f"SIGSEGV at page {page}")
            self.free.remove(page, 1)
            self.pages[number] = bytearray(PAGE)
        return self.pages[number]

    def present(self) -> Iterator[tuple[int, bytes]]:
        """Pages relative to the start of the arena, in address order, with their content."""
        first = self.window_page(0)
        return ((number - first, bytes(self.pages[number])) for number in sorted(self.pages))
