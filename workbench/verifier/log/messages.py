"""What the verifier's refusals mean: one row for each class of message.

A row has the pattern of the kernel's words (kernel/bpf/verifier.c, Linux 6.18; names of groups
fill the texts), what is wrong in plain words, and what to change. Two refusals are of the same
class when the same row matches. The first row that matches counts.
"""

import re
from functools import lru_cache
from typing import NamedTuple

SAFETY, SHAPE, LIMIT = "safety", "shape", "limit"
"""Why Linux refuses: the program could do harm; it is not well formed; it is too much to check."""


class Message(NamedTuple):
    """One class of refusals: name, kind, pattern, what is wrong, what to change."""

    name: str
    kind: str
    pattern: re.Pattern[str]
    wrong: str
    advice: str


class Match(NamedTuple):
    """A refusal and its row, with what the pattern found in it."""

    message: Message
    found: dict[str, str]

    @property
    def wrong(self) -> str:
        """What is wrong, about this refusal."""
        return self.message.wrong.format(**self.found)

    @property
    def advice(self) -> str:
        """What to change, about this refusal."""
        return self.message.advice.format(**self.found)


@lru_cache(maxsize=1 << 14)  # bounds the memory for many logs; not measured
def classify(reason: str) -> Match | None:
    """Find the row for the words of a refusal; None for words that no row knows."""
    for message in MESSAGES:
        if found := message.pattern.search(reason):
            return Match(message, {k: v or "" for k, v in found.groupdict().items()})
    return None


def _row(name: str, kind: str, pattern: str, wrong: str, advice: str) -> Message:
    return Message(name, kind, re.compile(pattern), wrong, advice)


CHECK_NULL = "Compare the pointer with 0 first, and use it only where it is not 0."
MESSAGES = (
    # values
    _row("uninitialised register", SAFETY, r"^R(?P<n>\d+) !read_ok",
         "r{n} is read, but on this path nothing was ever written to it. After a call, r1 to r5 "
         "count as unwritten too; at exit, r0 must hold a result.",
         "Give r{n} a value on every path that leads here, for example r{n} = 0. Keep what must "
         "survive a call in r6 to r9 or on the stack."),
    _row("number used as address", SAFETY, r"^R(?P<n>\d+) invalid mem access '(?:scalar|inv|imm)'",
         "r{n} is used as an address, but the verifier only knows it to be a number. A number "
         "can be any address, so nothing protects the kernel.",
         "For memory of the arena, make the number a pointer first: r{n} = cast_kern(r{n}); in C, "
         "use a pointer declared with __arena. Pointers read from an arena, returned by "
         "bpf_arena_alloc_pages or converted for user space are numbers. For other memory, keep "
         "the original pointer in a register or in a whole 8-byte stack slot."),
    _row("pointer may be NULL", SAFETY,
         r"^R(?P<n>\d+) invalid mem access '(?P<kind>\w+_or_null)'"
         r"|^R(?P<m>\d+) pointer arithmetic on \w+_or_null prohibited, null-check it first",
         "r{n}{m} can be NULL here: the call that made it may fail, and this path has not "
         "checked.",
         CHECK_NULL),
    _row("wrong kind of pointer", SAFETY, r"^R(?P<n>\d+) invalid mem access '(?P<kind>[^']+)'",
         "r{n} is a pointer of kind '{kind}', through which a program may not read or write.",
         "Use a pointer that leads to memory: the stack (r10), the context, a map value, the "
         "packet or the arena."),
    # memory
    _row("stack bounds", SAFETY,
         r"^invalid (?:\w+ )*(?:read|write|access) (?:from|to) (?:indirect |direct )?stack "
         r"(?P<n>R\d+ )?(?:off|min_off|max_off)",
         "The access is outside the stack, which is the 512 bytes below r10, or reads bytes of it "
         "that this path has not written.",
         "Stay between r10 - 512 and r10, and write stack bytes before they are read. A helper "
         "reads as many bytes as its size argument says: all of them must be written."),
    _row("stack offset unknown", SAFETY,
         r"(?:invalid (?:unbounded )?variable-offset \w+(?: \w+)? (?:from|to) stack"
         r"|invalid unbounded variable-offset|variable stack (?:access|read|write))",
         "The address in the stack is computed with a number whose range the verifier does not "
         "know, or that leaves the 512 bytes.",
         "Bound the number before the access, for example with r2 &= 63 or a comparison."),
    _row("stack alignment", SAFETY, r"^misaligned stack access",
         "The address in the stack is not a multiple of the access size.",
         "Use offsets that are multiples of the size: -8, -16 for 8 bytes."),
    _row("spilled pointer damaged", SAFETY,
         r"^(?:attempt to corrupt spilled pointer|invalid size of register (?:spill|fill)"
         r"|corrupted spill memory)",
         "A pointer kept on the stack is written or read in part. Half a pointer is a number that "
         "shows where the kernel keeps its memory.",
         "Store and load pointers whole: 8 bytes at an offset that is a multiple of 8."),
    _row("spill into the caller", SAFETY,
         r"^cannot spill pointers to stack into stack frame of the caller",
         "A function stores a pointer to its own stack in its caller's stack, where it would "
         "outlive what it leads to.",
         "Keep the pointer in the function's own stack, or let the caller pass the memory."),
    _row("misaligned access", SAFETY, r"^misaligned (?:\w+ )?access",
         "The address is not a multiple of the access size, and this memory or machine needs it "
         "to be.",
         "Align the offset to the size of the access, or read byte by byte."),
    _row("map value bounds", SAFETY,
         r"^invalid access to map (?:value|key), (?:value|key)_size=(?P<size>\d+) "
         r"off=(?P<off>-?\d+) size=(?P<bytes>\d+)",
         "The access covers {bytes} bytes at offset {off}, but the map's entry has only {size} "
         "bytes.",
         "Keep offset + size within {size}; check an index before it is multiplied and added."),
    _row("memory bounds", SAFETY,
         r"^invalid access to memory, mem_size=(?P<size>\d+) off=(?P<off>-?\d+) "
         r"size=(?P<bytes>\d+)",
         "The access covers {bytes} bytes at offset {off}, but the memory has only {size} bytes.",
         "Keep offset + size within {size}."),
    _row("range too wide", SAFETY,
         r"^R(?P<n>\d+) (?:min|max) value is outside of the (?:allowed memory range|array range)"
         r"|^R(?P<m>\d+) (?:min value is negative|unbounded memory access)",
         "The access may be outside: r{n}{m} can lead too low or too high. Where it was computed "
         "with a number, the verifier must see from comparisons on this path what limits that "
         "number.",
         "Compare the number with its limit right before it is added, as unsigned, and in the same "
         "register: if (i >= N) return 0. Or mask it: i &= N - 1."),
    _row("packet bounds", SAFETY,
         r"^invalid access to packet|^R(?P<n>\d+) offset is outside of the packet",
         "These bytes of the packet may not be there: packets can be shorter, and this path has "
         "not compared with the packet's end.",
         "Compare first: if (data + N > data_end) return. N must cover the whole access, and the "
         "pointer used must be the compared one."),
    _row("context access", SAFETY,
         r"^invalid bpf_context access off=(?P<off>-?\d+) size=(?P<bytes>\d+)",
         "A program of this type may not access {bytes} bytes at offset {off} of its context, or "
         "not in this way.",
         "Use the offsets and sizes of the context's structure for this program type."),
    _row("context pointer changed", SAFETY,
         r"^(?:dereference of modified \w+ ptr|negative offset \w+ ptr|variable \S+ access"
         r"|arg#\d+ expected pointer to ctx)",
         "The context pointer was changed before its use.",
         "Use the context with the pointer as it came in r1 and a constant offset."),
    _row("write forbidden", SAFETY,
         r"(?:cannot write into|write into map forbidden|only read from|write to .* disallowed"
         r"|read from map forbidden|write access .* not allowed)",
         "This memory may only be read (or this map only written).",
         "Copy the bytes to the stack or a map that may be written, and change the copy."),
    _row("lock accessed", SAFETY, r"cannot be accessed directly by load/store",
         "The bytes of a lock inside a map value are touched directly.",
         "Use bpf_spin_lock and bpf_spin_unlock, and leave its 4 bytes alone."),
    # arithmetic
    _row("pointer arithmetic", SAFETY,
         r"^R(?P<n>\d+) (?:pointer arithmetic (?:on \S+ prohibited|with \S+ operator prohibited)"
         r"|pointer \S+ pointer prohibited|bitwise operator \S+ on pointer prohibited"
         r"|subtraction from stack pointer prohibited|32-bit pointer arithmetic prohibited"
         r"|tried to |has pointer with unsupported alu operation|has unknown scalar|partial copy"
         r"|sign-extension part of pointer|pointer comparison prohibited)",
         "A pointer may only be moved by adding or subtracting a number, in 64 bits. Other "
         "arithmetic would make an address that leads anywhere.",
         "Do the arithmetic on the number, then add it to the pointer. Pointers into an arena are "
         "the exception: they take any arithmetic."),
    _row("number expected", SAFETY, r"^R(?P<n>\d+) is not a scalar",
         "r{n} must hold a number here. It holds a pointer, or nothing that was written.",
         "Put a number into r{n} right before."),
    _row("pointer moved too far", SAFETY,
         r"^(?:math between \S+ pointer and|value -?\d+ makes \S+ pointer be out of bounds"
         r"|\S+ pointer offset -?\d+ is not allowed|pointer offset)",
         "A pointer is moved by a number that may be huge: the verifier knows no limit, or one "
         "beyond 2^29.",
         "Bound the number on both sides before it is added: mask it, or compare it as unsigned."),
    _row("r10 written", SAFETY, r"frame pointer is read only",
         "r10 marks the stack and cannot be changed.",
         "Copy it first: r2 = r10, then r2 += -8."),
    _row("pointer leaked", SAFETY, r"leaks addr",
         "A kernel address would become visible outside the kernel.",
         "Return or store a number, not a pointer."),
    _row("division by zero", SHAPE, r"^div by zero", "The program divides by the constant 0.",
         "Use another divisor. A register that is 0 at run time is fine: the result is 0."),
    _row("shift too far", SHAPE, r"^invalid shift (?P<by>-?\d+)",
         "A value is shifted by {by}, which is not less than its width.",
         "Shift by 0 to 63, or 0 to 31 for w registers."),
    # arena
    _row("no arena", SHAPE, r"addr_space_cast insn can only be used in a program that has an",
         "The program converts arena pointers but names no arena, so there is nothing that they "
         "could point into.",
         "Name the arena in this very program: load its address once, r1 = arena ll. In C, use the "
         "arena map in the function."),
    _row("cast", SHAPE, r"addr_space_cast insn can only convert between",
         "Only two conversions exist: to an arena pointer (cast_kern) and to a user address "
         "(cast_user).",
         "Use cast_kern(r) or cast_user(r)."),
    _row("two arenas", SHAPE, r"Only one arena per program",
         "The program names two arenas. Its pointers have 32 bits and cannot say which one is "
         "meant.",
         "Use one arena, or two programs."),
    _row("arena without address", SHAPE, r"arena's user address must be set",
         "Nobody has decided yet where user space sees the arena, so pointers in it have no value.",
         "Map the arena with mmap before loading, or give map_extra."),
    _row("mixed pointers", SAFETY, r"same insn cannot be used with",
         "One instruction is reached with an arena pointer on one path and another kind on the "
         "other. It is rewritten once and cannot be both.",
         "Repeat the instruction on each path, so that each always sees one kind."),
    _row("arena argument", SAFETY, r"is not a pointer to arena or scalar",
         "The function expects an arena pointer or a number.",
         "Pass an arena pointer, or drop the tag arg:arena from the parameter."),
    _row("atomic target", SAFETY,
         r"BPF_ATOMIC (?:stores into|loads from) R(?P<n>\d+) (?P<kind>\S+)",
         "This atomic operation is not possible on memory of kind '{kind}'.",
         "In an arena, atomic and, or and xor cannot return the old value on x86; use cmpxchg in "
         "a loop. Elsewhere, use a map value or the stack."),
    _row("atomic form", SHAPE,
         r"(?:invalid atomic operand size|BPF_ATOMIC uses |BPF_STX uses|unknown atomic)",
         "This atomic operation does not exist for this size, or has fields that must be 0.",
         "Use 4 or 8 bytes; only load_acquire and store_release take 1 or 2."),
    # control flow
    _row("unreachable", SHAPE, r"^unreachable insn (?P<pc>\d+)",
         "No path reaches instruction {pc}.",
         "Delete it, or jump to it. A jump over an instruction without condition often is the "
         "cause."),
    _row("jump outside", SHAPE,
         r"^jump out of range|^jump into the middle|^jump reserved insn|^invalid jmp",
         "A jump leads out of its function, or into the second half of a 64-bit load.",
         "Let the jump end at an instruction of the same function."),
    _row("end missing", SHAPE, r"^last insn is not an exit or jmp",
         "The program, or a function of it, runs past its last instruction.",
         "End every function with exit or a goto."),
    _row("endless loop", LIMIT, r"^(?:infinite loop detected|back-edge from insn)",
         "The loop came round in exactly the same state, so nothing shows that it ends.",
         "Count rounds in a register with a constant limit, or use may_goto, bpf_loop or an "
         "iterator."),
    _row("too complex", LIMIT,
         r"(?:is too complex|program is too large|too many (?:states|jumps|subprograms)"
         r"|max_loops|loop is too complex)",
         "There are more paths than the verifier follows: 1,000,000 instructions in all, 8192 "
         "branches that wait.",
         "Fewer branches inside loops; smaller bounds; may_goto, bpf_loop or global functions, "
         "which are verified on their own."),
    _row("stack size", LIMIT,
         r"combined stack size|stack (?:depth|size) .*(?:too large|exceeds)|Too large$",
         "The functions that call each other need more than 512 bytes of stack together.",
         "Move large variables to a map or the arena."),
    _row("call depth", LIMIT, r"call stack of \d+ frames is too deep|recursive call",
         "Calls are nested deeper than 8 functions, or a function calls itself.",
         "Turn the recursion into a loop."),
    _row("call target", SHAPE,
         r"^call to invalid destination|^func_info|^missing btf func_info"
         r"|number of funcs in func_info|tail_call.* not allowed",
         "A call does not lead to the first instruction of a function that is described.",
         "Call the start of a function; callbacks and global functions need type information "
         "(compile with -g)."),
    _row("unknown instruction", SHAPE,
         r"^(?:unknown opcode|invalid BPF_|BPF_\w+ uses reserved|R\d+ is invalid"
         r"|unrecognized bpf_ld_imm64|unknown insn|zero register|invalid insn"
         r"|insn \d+ cannot be patched)",
         "This is not an instruction that Linux knows, or one of its unused fields is not 0.",
         "Check opcode and fields; `workbench isa` prints the table."),
    _row("packet load", SHAPE, r"BPF_LD_\[?ABS",
         "This old form of packet load only exists for socket filters and tc programs, wants the "
         "context in r6, and is not possible here.",
         "Read the packet through data and data_end, or call bpf_skb_load_bytes."),
    _row("not in the workbench", SHAPE, r"not supported by the workbench",
         "Linux may accept this, but the workbench does not model it.",
         "Ask Linux: workbench verify FILE --kernel."),
    # result
    _row("result out of range", SAFETY,
         r"R0 not a scalar value|^At (?:program|callback|async callback)\S* ?(?:exit|return)",
         "The result in r0 may be a value that this program type, or a callback, must not return.",
         "Return a constant, or bound r0 before exit. Callbacks return 0 or 1."),
    _row("stack pointer returned", SAFETY, r"cannot return stack pointer to the caller",
         "A function returns the address of its own stack, which is gone after it returns.",
         "Let the caller pass a pointer to its stack."),
    # calls
    _row("argument type", SAFETY,
         r"^R(?P<n>\d+) type=(?P<kind>\S+) expected=(?P<wanted>.+)$",
         "The call wants another kind of value in r{n}: {wanted}. It gets {kind}.",
         "Pass what the call expects; helpers cannot read arena memory, so copy to the stack "
         "first."),
    _row("global argument", SAFETY, r"^Caller passes invalid args into func",
         "A global function is verified on its own, for the arguments that its type promises. "
         "This call breaks the promise.",
         "Pass what the declaration says: memory of the full size, an arena pointer, a number."),
    _row("NULL argument", SAFETY, r"Possibly NULL pointer passed|NULL pointer passed to",
         "The call must not get NULL, and this pointer may be NULL.",
         CHECK_NULL),
    _row("map argument", SAFETY,
         r"isn't map pointer|cannot pass map_type|invalid map_ptr|map_ptr.*unknown|expected=map_ptr"
         r"|pointer in R\d+ isn't map",
         "The call wants a map, of a type that it can work on.",
         "Load the map into the register right before the call."),
    _row("size argument", SAFETY,
         r"^R(?P<n>\d+) (?:invalid zero-sized read|unbounded memory access, use"
         r"|is not a known constant|must be a known constant|doesn't have constant offset)",
         "The size in r{n} may be 0, negative or unbounded.",
         "Bound the size before the call: if (n == 0 || n > 64) return 0."),
    _row("helper forbidden", SAFETY,
         r"(?:unknown func|program of this type cannot use helper|calling kernel function \S+ is"
         r"|helper call is not allowed|cannot call (?:kernel|GPL)|kernel function \S+ .*not allowed"
         r"|calling invalid kernel function|calling kernel function|btf_id \d+ is not a"
         r"|failed to find BTF for kernel function|kfunc offset|invalid func)",
         "This program may not call that function: it does not exist, or is not for this type of "
         "program or licence.",
         "Look up which program types may call it. GPL-only functions need license \"GPL\"."),
    _row("region", SAFETY,
         r"inside bpf_(?:preempt_disable|local_irq_save|rcu_read_lock)-ed region|unmatched rcu"
         r"|irq flag|unmatched attempt to (?:enable|disable)",
         "A region (RCU, no preemption, no interrupts) is left without being entered, or not left "
         "at all on this path.",
         "Pair every enter with one leave on each path, in the opposite order."),
    _row("verifier bug", LIMIT, r"^verifier bug|printed nothing",
         "Linux says no without a reason that is about the program.",
         "Load it in smaller parts to find what it stumbles over."),
    _row("may sleep", SAFETY,
         r"must be sleepable|is sleepable within|sleepable only|non-preemptible region"
         r"|rcu_read_lock|IRQ-disabled region|may sleep|can only be sleepable",
         "The call may sleep, and this program or region must not.",
         "Call it from a sleepable program (syscall), outside locks and RCU regions."),
    _row("iterator", SAFETY,
         r"(?:un)?initialized iter_\w+ as arg|an iterator on stack|as iter_\w+ slots"
         r"|iter_\w+.*(?:uninit|invalid)",
         "The iterator on the stack is not in the state that this call needs: it must be made "
         "with _new once, advanced with _next, and ended with _destroy.",
         "Call _new before and _destroy after the loop on every path, on the same stack slot, and "
         "do not write to that slot."),
    _row("release", SAFETY,
         r"must be referenced when passed to release|release helper|arg \d+ is an unacquired"
         r"|not owned|R\d+ must have zero offset when passed to release",
         "What is given back was not taken, or is given back twice, or the pointer was moved.",
         "Release each reference exactly once, with the pointer as it was returned."),
    _row("reference leak", SAFETY,
         r"Unreleased reference|reference leak|has unreleased|would lead to reference leak",
         "Something taken (a ring buffer record, an iterator, a socket) is not given back on this "
         "path.",
         "On every path to exit, submit or discard the record, destroy the iterator, release the "
         "reference. An early return is the usual cause."),
    _row("lock", SAFETY,
         r"bpf_spin_lock-ed region|while holding a lock|spin_unlock without|different lock"
         r"|two different locks|lock is already|missing unlock|has no valid bpf_spin_lock"
         r"|bpf_spin_lock|doesn't have .*lock",
         "The lock is not taken and released in pairs, or something is called in between that "
         "must not be.",
         "Between bpf_spin_lock and bpf_spin_unlock only touch memory; leave no path that exits "
         "with the lock held; one lock at a time."),
    _row("dynptr", SAFETY, r"dynptr",
         "The dynamic pointer is not in the state that the call needs.",
         "Initialise it once, check the result, and leave its 16 stack bytes alone."),
    _row("callback", SAFETY, r"callback", "The callback is not one that this helper accepts.",
         "Give the address of a function of this program that returns 0 or 1."),
    _row("privilege", SAFETY, r"CAP_|not allowed for unprivileged|privileg",
         "Loading this program needs more rights.",
         "Run as root, or with CAP_BPF and CAP_PERFMON."),
    _row("limits of a program", SHAPE, r"^the program |Argument list too long|E2BIG",
         "The program as a whole breaks a limit.", "Make it smaller, or split it."),
    _row("map reference", SHAPE,
         r"(?:fd \d+ is not pointing to valid bpf_map|invalid access to map value pointer"
         r"|direct value offset|map_fd|BPF_PSEUDO|map type)",
         "The load names no map, or an address outside the map.",
         "Name a map of this program, with an offset inside it."),
)  # fmt: skip
