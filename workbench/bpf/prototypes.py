"""The functions a program can call as text: their C prototypes, one line about each, a header.

Everything is derived from `workbench.bpf.functions`, so that what C programs, readers, verifier and
engines take a function to be is the same. include/helpers.h is `header()`.
"""

from workbench.bpf.functions import BASE, FUNCTIONS, Function
from workbench.bpf.map_types import MAP_TYPES
from workbench.bpf.releases import RELEASES

_PARAMETERS = {
    "anything": "__u64 value",
    "scalar": "__u64 value",
    "ignored": "void *unused",
    "ctx": "void *ctx",
    "map": "void *map",
    "map_key": "const void *key",
    "map_value": "const void *value",
    "map_value_uninit": "void *value",
    "mem": "const void *from",
    "mem_or_null": "const void *from",
    "mem_uninit": "void *to",
    "size": "__u32 size",
    "size_or_zero": "__u32 size",
    "record_size": "__u64 size",
    "record": "void *record",
    "callback": "void *callback",
    "stack_or_null": "void *callback_ctx",
    "spin_lock": "struct bpf_spin_lock *lock",
    "spin_lock_held": "struct bpf_spin_lock *lock",
    "text": "const char *format",
    "iterator_new": "struct bpf_iter_num *it",
    "iterator": "struct bpf_iter_num *it",
    "iterator_end": "struct bpf_iter_num *it",
    "irq_flag_new": "unsigned long *flags",
    "irq_flag": "unsigned long *flags",
}
"""Kind of an argument -> what C calls it, where the function does not say otherwise below."""

_NAMED: dict[str, dict[int, str]] = {
    "bpf_map_update_elem": {4: "__u64 flags"},
    "bpf_trace_printk": {1: "const char *format", 3: "..."},
    "bpf_skb_store_bytes": {2: "__u32 offset", 5: "__u64 flags"},
    "bpf_tail_call": {3: "__u32 index"},
    "bpf_perf_event_output": {3: "__u64 flags", 5: "__u64 size"},
    "bpf_skb_load_bytes": {2: "__u32 offset"},
    "bpf_csum_diff": {3: "const void *to", 4: "__u32 to_size", 5: "__u32 seed"},
    "bpf_xdp_adjust_head": {2: "int delta"},
    "bpf_xdp_adjust_tail": {2: "int delta"},
    "bpf_map_push_elem": {3: "__u64 flags"},
    "bpf_probe_read_user": {3: "const void *user"},
    "bpf_probe_read_kernel": {3: "const void *kernel"},
    "bpf_probe_read_user_str": {3: "const void *user"},
    "bpf_probe_read_kernel_str": {3: "const void *kernel"},
    "bpf_ringbuf_output": {3: "__u64 size", 4: "__u64 flags"},
    "bpf_ringbuf_reserve": {3: "__u64 flags"},
    "bpf_ringbuf_submit": {2: "__u64 flags"},
    "bpf_ringbuf_discard": {2: "__u64 flags"},
    "bpf_ringbuf_query": {2: "__u64 what"},
    "bpf_copy_from_user": {3: "const void *user"},
    "bpf_for_each_map_elem": {4: "__u64 flags"},
    "bpf_loop": {1: "__u32 rounds", 4: "__u64 flags"},
    "bpf_map_lookup_percpu_elem": {3: "__u32 cpu"},
    "bpf_arena_alloc_pages": {
        2: "void __arena *address", 3: "__u32 count", 4: "int node", 5: "__u64 flags",
    },
    "bpf_arena_free_pages": {2: "void __arena *address", 3: "__u32 count"},
    "bpf_arena_reserve_pages": {2: "void __arena *address", 3: "__u32 count"},
    "bpf_iter_num_new": {2: "int start", 3: "int end"},
    "bpf_throw": {1: "__u64 cookie"},
    "bpf_stream_vprintk_impl": {1: "int stream", 3: "const void *words"},
    "bpf_stream_vprintk": {1: "int stream", 3: "const void *words"},
}  # fmt: skip
"""Parameters, counted from 1, of which C knows more than the verifier."""

_RETURNS = {
    "scalar": "long ",
    "void": "void ",
    "map_value_or_null": "void *",
    "record_or_null": "void *",
    "int_or_null": "int *",
    "never": "void ",
}
_RESULTS = {
    "bpf_ktime_get_ns": "__u64 ",
    "bpf_get_current_pid_tgid": "__u64 ",
    "bpf_ringbuf_query": "__u64 ",
    "bpf_get_prandom_u32": "__u32 ",
    "bpf_get_smp_processor_id": "__u32 ",
    "bpf_csum_diff": "__s64 ",
    "bpf_arena_alloc_pages": "void __arena *",
}

_HEAD = """/* SPDX-License-Identifier: MIT */
/* What else libbpf's bpf_helpers.h declares: types of maps, and the helpers and kfuncs that a
 * program can call in the workbench. Written by workbench.bpf.prototypes from the table that
 * verifier and engines use: do not edit it.
 *
 *     #include "arena.h"
 *     #include "helpers.h" */
#ifndef WORKBENCH_HELPERS_H
#define WORKBENCH_HELPERS_H
#ifndef __BPF_HELPERS__

/* What the kernel defines: functions, and settings such as CONFIG_HZ. */
#define __ksym __attribute__((section(".ksyms")))
#define __kconfig __attribute__((section(".kconfig")))
#ifndef __weak
#define __weak __attribute__((weak))
#endif

#ifndef __VMLINUX_H__
MAP_TYPES
struct bpf_spin_lock {
	__u32 val;
};
struct bpf_iter_num {
	__u64 opaque[1];
} __attribute__((aligned(8)));
#endif
"""
_FOOT = """
/* Up to three numbers; the text goes to the engine's `printed`, in Linux to its trace pipe, too. */
#define bpf_printk(format, ...)                                              \\
	({                                                                   \\
		static const char text_[] = format;                          \\
		bpf_trace_printk(text_, sizeof(text_), ##__VA_ARGS__);       \\
	})

/* Any numbers, to the stream 1 (stdout) or 2 (stderr) of the program. */
#define bpf_stream_printk(stream, format, ...)                               \\
	({                                                                   \\
		static const char text_[] = format;                          \\
		const __u64 words_[] = {0, ##__VA_ARGS__};                   \\
		bpf_stream_vprintk_impl(stream, text_, words_ + 1,           \\
					sizeof(words_) - 8, NULL);           \\
	})

#endif
#endif
"""


def prototype(row: Function, name: str | None = None) -> str:
    """A function's C prototype; `name` replaces its own."""
    own = _NAMED.get(row.name, {})
    kinds = enumerate(row.arguments, 1)
    parameters = [own.get(number, _PARAMETERS[kind]) for number, kind in kinds]
    parameters += [own[number] for number in sorted(own) if number > len(row.arguments)]
    returns = _RESULTS.get(row.name, "int " if row.kind == "kfunc" else "")
    if row.returns != "scalar":
        returns = _RESULTS.get(row.name, _RETURNS[row.returns])
    return f"{returns or _RETURNS['scalar']}{name or row.name}({', '.join(parameters) or 'void'})"


def described(row: Function) -> str:
    """One line: kind and number, prototype, who may call it, releases of Linux without it."""
    kind = f"helper {row.number}" if row.kind == "helper" else "kfunc"
    types = "" if row.group == BASE else f"  in {', '.join(row.types)}"
    flags = [word for word in ("sleepable", "gpl") if getattr(row, word)]
    lacking = [release.name for release in RELEASES.values() if row.name in release.lacks]
    notes = [", ".join(flags), f"not in {', '.join(lacking)}" if lacking else ""]
    return f"{kind:<11}{prototype(row)}{types}" + "".join(f"  {note}" for note in notes if note)


def header() -> str:
    """The text of include/helpers.h; the kfuncs of arenas are in arena.h."""
    helpers = [row for row in FUNCTIONS if row.kind == "helper"]
    kfuncs = [row for row in FUNCTIONS if row.kind == "kfunc" and "_arena_" not in row.name]
    lines = [f"static {_pointer(row)} = (void *){row.number};" for row in helpers]
    lines.append("")
    lines += [f"extern {prototype(row)} __ksym __weak;" for row in kfuncs]
    types = [f"\tBPF_MAP_TYPE_{name.upper()} = {number}," for name, number in MAP_TYPES.items()]
    types = ["enum {", *(line for line in types if "_ARENA" not in line), "};"]
    return "\n".join([_HEAD.replace("MAP_TYPES", "\n".join(types)), *lines, _FOOT])


def _pointer(row: Function) -> str:
    """A helper is a pointer to a function, whose address is its number."""
    return prototype(row, f"(*const {row.name})")
