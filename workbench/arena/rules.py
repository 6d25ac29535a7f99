"""What Linux demands of a new arena: flags, sizes and the errno of each refusal.

Sources: kernel/bpf/arena.c (arena_map_alloc), kernel/bpf/syscall.c (map_create); observed on 6.18.
"""

import string
from enum import IntFlag
from typing import NamedTuple

from workbench.bpf.map_types import MapFlag
from workbench.errors import ArenaError

PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT  # bytes: Linux on x86-64
MAX_PAGES = 1 << 20  # pages of the largest arena, 4 GiB
WINDOW = 1 << 32  # bytes that the low half of an address can name
GUARD = 32768  # bytes before and after the window, the reach of a 16-bit offset
USER_END = (1 << 47) - PAGE_SIZE  # end of user addresses on x86-64
KERNEL_HALF = 1 << 63

_ADDRESSES = 1 << 64
_NAME_BYTES = 15  # BPF_OBJ_NAME_LEN without the terminating zero
_NAME_CHARACTERS = frozenset(string.ascii_letters + string.digits + "_.")
_DEFAULT_BLOCK = 0x1000_0000_0000  # a multiple of 4 GiB that no process layout uses
_DEFAULT_LOW = 0x1000_0000  # not 0, so that page 0 does not share NULL's low half


class ArenaFlags(IntFlag):
    """Flags of an arena, with the values of BPF_F_* in linux/bpf.h.

    >>> arena = wb.Arena(pages=1, flags=wb.ArenaFlags.SEGV_ON_FAULT)
    >>> arena.user.load(arena.user_start)
    Traceback (most recent call last):
    workbench.errors.SegmentationFault: SIGSEGV: user load at 0x100010000000 (SEGV_ON_FAULT: ...)
    """

    MMAPABLE = MapFlag.MMAPABLE.value  # every arena must say it
    SEGV_ON_FAULT = 1 << 17  # a user touch of an absent page is SIGSEGV instead of a new page
    NO_USER_CONV = 1 << 18  # cast_user only truncates to 32 bits


ALLOWED_FLAGS = ArenaFlags.MMAPABLE | ArenaFlags.SEGV_ON_FAULT | ArenaFlags.NO_USER_CONV


class Refusal(NamedTuple):
    """Why a system call fails: the errno's name and one line for a person."""

    errno_name: str
    message: str


def creation_refusal(
    pages: int,
    flags: int,
    map_extra: int = 0,
    key_size: int = 0,
    value_size: int = 0,
    name: str = "",
    ifindex: int = 0,
) -> Refusal | None:
    """Say how Linux refuses to create this arena, checking in its order; None if it does not.

    `flags` are those of bpf(2), MMAPABLE included; `map_extra` is the first user address or 0.
    """
    return (
        _refused_attributes(pages, flags, key_size, value_size, ifindex)
        or _refused_window(pages, map_extra)
        or _refused_name(name)
    )


def _refused_attributes(
    pages: int, flags: int, key_size: int, value_size: int, ifindex: int
) -> Refusal | None:
    if ifindex:
        return Refusal("EINVAL", "an arena cannot be offloaded to a network device")
    if key_size or value_size:
        return Refusal(
            "EINVAL",
            f"an arena has neither keys nor values; key_size is {key_size} "
            f"and value_size is {value_size}, both must be 0",
        )
    if pages <= 0:
        return Refusal("EINVAL", f"an arena has at least 1 page, not {pages}")
    if not flags & ArenaFlags.MMAPABLE:
        return Refusal("EINVAL", "an arena needs the flag MMAPABLE (0x400)")
    if unknown := int(flags) & ~int(ALLOWED_FLAGS):  # ~ of an IntFlag knows named bits only
        return Refusal(
            "EINVAL",
            f"flags {unknown:#x} do not exist for an arena; "
            "it has MMAPABLE, SEGV_ON_FAULT and NO_USER_CONV",
        )
    return None


def _refused_window(pages: int, map_extra: int) -> Refusal | None:
    if map_extra % PAGE_SIZE:
        return Refusal("EINVAL", f"the user address {map_extra:#x} is not a multiple of 4096")
    if pages > MAX_PAGES:
        return Refusal("E2BIG", f"{pages} pages are more than 4 GiB; the most is {MAX_PAGES}")
    if crosses_block(map_extra, pages * PAGE_SIZE):
        return Refusal(
            "ERANGE",
            f"{pages} pages at {map_extra:#x} cross a 4 GiB line; "
            "addresses of an arena may differ in their low halves only",
        )
    return None


def _refused_name(name: str) -> Refusal | None:
    if len(name) > _NAME_BYTES:
        return Refusal("EINVAL", f"the name '{name}' is longer than {_NAME_BYTES} characters")
    if bad := set(name) - _NAME_CHARACTERS:
        return Refusal(
            "EINVAL",
            f"a map's name cannot contain '{min(bad)}'; it has letters, digits, '_' and '.'",
        )
    return None


def check_creation(
    pages: int,
    flags: int,
    map_extra: int = 0,
    key_size: int = 0,
    value_size: int = 0,
    name: str = "",
    ifindex: int = 0,
) -> None:
    """Raise ArenaError with the errno with which Linux refuses to create an arena.

    Takes the arguments of `creation_refusal`.
    """
    refusal = creation_refusal(pages, flags, map_extra, key_size, value_size, name, ifindex)
    if refusal:
        raise ArenaError(*refusal)


def check_user_range(address: int, length: int) -> None:
    """Raise ArenaError as mmap refuses a range that user space cannot have.

    Creating an arena there succeeds; mapping it at a kernel address makes Linux 6.18 print a
    warning, so a real arena is checked before.
    """
    if address >= KERNEL_HALF:
        raise ArenaError("EFAULT", f"{address:#x} is a kernel address; it cannot be mapped")
    if address > USER_END - length:
        raise ArenaError(
            "ENOMEM",
            f"{length:#x} bytes at {address:#x} end beyond {USER_END:#x}, "
            "the last of the user's addresses",
        )


def crosses_block(address: int, length: int) -> bool:
    """Whether `length` > 0 bytes at a 64-bit address lie in more than one 4 GiB block."""
    return address // WINDOW != (address + length - 1) % _ADDRESSES // WINDOW


def default_user_base(pages: int) -> int:
    """Choose the user address of an arena that nobody pinned; its low half is not 0 if it fits."""
    return _DEFAULT_BLOCK + min(_DEFAULT_LOW, WINDOW - pages * PAGE_SIZE)


_UNSUPPORTED = {
    "update": "EOPNOTSUPP",
    "delete": "EOPNOTSUPP",
    "get_next_key": "EOPNOTSUPP",
    "lookup_and_delete": "ENOTSUPP",
}
_BATCHES = ("lookup_batch", "lookup_and_delete_batch", "update_batch", "delete_batch")
_READS = ("lookup", "get_next_key", "lookup_batch")


def operation_refusal(operation: str, key: bool = False, frozen: bool = False) -> Refusal:
    """Say how Linux refuses an element operation of bpf(2) on an arena; it refuses all of them.

    `operation` is the lower-case rest of BPF_MAP_*_ELEM or BPF_MAP_*; `key`: a key was passed.
    Raises ValueError for an operation that bpf(2) does not have.
    """
    if operation in (*_UNSUPPORTED, *_BATCHES) and frozen and operation not in _READS:
        return Refusal("EPERM", "a frozen map cannot be changed by system calls")
    if operation in _BATCHES:
        return Refusal("ENOTSUPP", "an arena has no elements to handle in batches")
    if operation == "lookup" or (key and operation in _UNSUPPORTED):
        return Refusal("EINVAL", "an arena has no keys; user space reaches its bytes by mmap")
    if operation in _UNSUPPORTED:
        return Refusal(_UNSUPPORTED[operation], "an arena has no elements")
    raise ValueError(f"unknown operation '{operation}'")
