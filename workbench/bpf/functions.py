"""The functions a program can call: a row per helper or kfunc, for text, verifier and engines.

Kinds of arguments, a word each (where Linux's enum bpf_arg_type or a kfunc's suffix says the
same, it is given in brackets):

    anything           any initialised register that is not a leaking pointer [ANYTHING]
    scalar             a number [a kfunc's integer]
    ignored            not looked at, need not even be set [__ign, __prog]
    ctx                the program's context, unmodified [CTX]
    map                a map named by the program [CONST_MAP_PTR, __map]
    map_key            memory of the map's key_size, to read [MAP_KEY]
    map_value          memory of the map's value_size, to read [MAP_VALUE]
    map_value_uninit   memory of the map's value_size, to be filled [MAP_VALUE | MEM_UNINIT]
    mem                memory to read, its size in the next argument [MEM | MEM_RDONLY]
    mem_or_null        memory to read, or NULL; its size in the next argument [MEM | PTR_MAYBE_NULL]
    mem_uninit         memory to be filled, its size in the next argument [MEM | MEM_UNINIT]
    size, size_or_zero the size of the memory before, 1 or 0 at least [CONST_SIZE(_OR_ZERO), __sz]
    record_size        a constant: the size of the record to reserve [CONST_ALLOC_SIZE_OR_ZERO]
    record             a reserved ring-buffer record, given back [RINGBUF_MEM | OBJ_RELEASE]
    callback           a function of the program [FUNC]
    stack_or_null      a pointer into the stack, or NULL [STACK_OR_NULL]
    spin_lock          the bpf_spin_lock in a map value [SPIN_LOCK]
    text               constant text in read-only memory, with its end [CONST_STR, __str]
    iterator_new, iterator, iterator_end   a bpf_iter_num on the stack, before, in and after use
    irq_flag_new, irq_flag                 eight bytes of stack for the interrupt flag [__irq_flag]

What is returned: "scalar", "void", "map_value_or_null", "record_or_null", "int_or_null" (a pointer
to four readable bytes), "never" (control does not come back).

Sources: include/uapi/linux/bpf.h (numbers), kernel/bpf/helpers.c, ringbuf.c, arena.c and
net/core/filter.c (prototypes), BTF of the running kernel (kfuncs), and which program types may call
what from a load into Linux 6.18.
"""

import difflib
from enum import IntEnum
from typing import NamedTuple

from workbench.bpf.helper_names import HELPER_NAMES, Helper
from workbench.bpf.program_types import PROGRAM_TYPES

Kfunc = IntEnum(
    "Kfunc",
    """
    ARENA_ALLOC_PAGES ARENA_FREE_PAGES ARENA_RESERVE_PAGES ITER_NUM_NEW ITER_NUM_NEXT
    ITER_NUM_DESTROY PREEMPT_DISABLE PREEMPT_ENABLE RCU_READ_LOCK RCU_READ_UNLOCK LOCAL_IRQ_SAVE
    LOCAL_IRQ_RESTORE THROW STREAM_VPRINTK_IMPL STREAM_VPRINTK
    """,
)
"""The kfuncs that can be called; the numbers are our own, Linux knows kfuncs by their BTF.

Those up to ARENA_RESERVE_PAGES, LAST_ARENA_KFUNC, are the arena's.
"""
LAST_ARENA_KFUNC = Kfunc.ARENA_RESERVE_PAGES.value

BASE = "base"
"""The group of functions that every type of program may call."""


class Function(NamedTuple):
    """A callable row: `number` is a Helper or a Kfunc.

    A program may call it whose type names its `group` (`raw` may call all); `sleepable` functions
    need a sleepable program, `gpl` ones a GPL-compatible licence. `releases` functions take back
    what another gave: a "record_or_null". `moves_packet` functions make packet pointers invalid,
    `packets` ones take memory that lies in the packet.
    """

    name: str
    kind: str
    number: int
    arguments: tuple[str, ...] = ()
    returns: str = "scalar"
    group: str = BASE
    sleepable: bool = False
    gpl: bool = False
    releases: bool = False
    moves_packet: bool = False
    packets: bool = False

    @property
    def types(self) -> tuple[str, ...]:
        """The types of program that may call it, `raw` left out."""
        return tuple(row.name for row in PROGRAM_TYPES.values() if self.group in row.functions)


def _helper(name: str, arguments: str = "", returns: str = "scalar",
            group: str = BASE, **flags: bool) -> Function:  # fmt: skip
    return Function("bpf_" + name, "helper", Helper[name.upper()], tuple(arguments.split()),
                    returns, group, **flags)  # fmt: skip


def _kfunc(name: str, arguments: str = "", returns: str = "scalar",
           group: str = BASE, **flags: bool) -> Function:  # fmt: skip
    return Function("bpf_" + name, "kfunc", Kfunc[name.upper()], tuple(arguments.split()),
                    returns, group, gpl=True, **flags)  # fmt: skip


_PRINT = "scalar text mem size_or_zero ignored"

FUNCTIONS: tuple[Function, ...] = (
    _helper("map_lookup_elem", "map map_key", "map_value_or_null", packets=True),
    _helper("map_update_elem", "map map_key map_value anything", packets=True),
    _helper("map_delete_elem", "map map_key", packets=True),
    _helper("ktime_get_ns"),
    _helper("trace_printk", "mem size", gpl=True),
    _helper("get_prandom_u32"),
    _helper("get_smp_processor_id"),
    _helper("skb_store_bytes", "ctx anything mem size anything", group="skb_store",
            moves_packet=True),
    _helper("tail_call", "ctx map anything", "void", moves_packet=True),
    _helper("get_current_pid_tgid"),
    _helper("perf_event_output", "ctx map anything mem size_or_zero", gpl=True),
    _helper("skb_load_bytes", "ctx anything mem_uninit size", group="skb"),
    _helper("csum_diff", "mem_or_null size_or_zero mem_or_null size_or_zero anything",
            group="checksum", packets=True),
    _helper("xdp_adjust_head", "ctx anything", group="packet_ends", moves_packet=True),
    _helper("xdp_adjust_tail", "ctx anything", group="packet_ends", moves_packet=True),
    _helper("map_push_elem", "map map_value anything", packets=True),
    _helper("map_pop_elem", "map map_value_uninit"),
    _helper("map_peek_elem", "map map_value_uninit"),
    _helper("spin_lock", "spin_lock", "void"),
    _helper("spin_unlock", "spin_lock", "void"),
    _helper("probe_read_user", "mem_uninit size_or_zero anything", gpl=True),
    _helper("probe_read_kernel", "mem_uninit size_or_zero anything", gpl=True),
    _helper("probe_read_user_str", "mem_uninit size_or_zero anything", gpl=True),
    _helper("probe_read_kernel_str", "mem_uninit size_or_zero anything", gpl=True),
    _helper("ringbuf_output", "map mem size_or_zero anything"),
    _helper("ringbuf_reserve", "map record_size anything", "record_or_null"),
    _helper("ringbuf_submit", "record anything", "void", releases=True),
    _helper("ringbuf_discard", "record anything", "void", releases=True),
    _helper("ringbuf_query", "map anything"),
    _helper("copy_from_user", "mem_uninit size_or_zero anything", sleepable=True),
    _helper("for_each_map_elem", "map callback stack_or_null anything"),
    _helper("loop", "anything callback stack_or_null anything"),
    _helper("map_lookup_percpu_elem", "map map_key anything", "map_value_or_null",
            packets=True),
    _kfunc("arena_alloc_pages", "map ignored scalar scalar scalar", sleepable=True),
    _kfunc("arena_free_pages", "map ignored scalar", "void", sleepable=True),
    _kfunc("arena_reserve_pages", "map ignored scalar", sleepable=True),
    _kfunc("iter_num_new", "iterator_new scalar scalar"),
    _kfunc("iter_num_next", "iterator", "int_or_null"),
    _kfunc("iter_num_destroy", "iterator_end", "void"),
    _kfunc("preempt_disable", returns="void"),
    _kfunc("preempt_enable", returns="void"),
    _kfunc("rcu_read_lock", returns="void"),
    _kfunc("rcu_read_unlock", returns="void"),
    _kfunc("local_irq_save", "irq_flag_new", "void"),
    _kfunc("local_irq_restore", "irq_flag", "void"),
    _kfunc("throw", "scalar", "never", group="exceptions"),
    _kfunc("stream_vprintk_impl", _PRINT),
    _kfunc("stream_vprintk", _PRINT),
)  # fmt: skip
"""Every function, once; which release lacks which is in workbench.bpf.releases."""

BY_NAME: dict[str, Function] = {row.name: row for row in FUNCTIONS}
HELPERS: dict[int, Function] = {row.number: row for row in FUNCTIONS if row.kind == "helper"}
KFUNCS: dict[str, Function] = {row.name: row for row in FUNCTIONS if row.kind == "kfunc"}

PRINTING_HELPERS, PRINTING_KFUNCS = (
    tuple(row.number for row in FUNCTIONS if row.kind == kind and "print" in row.name)
    for kind in ("helper", "kfunc")
)


def missing(called: str | int) -> str:
    """Name a function that is not in the table, a helper by number too, and what comes near it."""
    name = HELPER_NAMES.get(called, "") if isinstance(called, int) else called
    return f"the workbench has no {name or 'such helper'}; {near(name)}"


def near(name: str) -> str:
    """Say which functions have names like this one."""
    known = difflib.get_close_matches(name, BY_NAME, 3, 0.5)  # not measured; the usual is 0.6
    return f"near: {', '.join(known)}" if known else "`workbench functions` lists those it has"
