"""What compiled programs call when they must; the same for all, and compiled once."""

from workbench.arena.rules import PAGE_SHIFT
from workbench.engines.jit.layout import GONE, INTERRUPTED, LEFT, REPLACED, ROUNDS, STOPPED, Word
from workbench.engines.jit.text import load_words
from workbench.engines.machine import callbacks
from workbench.engines.machine.state import FRAME_REGISTERS, O_WROTE, R_BYTES, R_HOST, R_WRITABLE

_ATTRIBUTES = """
attributes #0 = { noinline nounwind noimplicitfloat }
"""

_UNCOMMON = f"""
; one instruction, by the interpreter's code; hardly a register of the caller is disturbed
define preserve_mostcc i64 @uncommon(ptr %p) #0 {{
{load_words("ptr", step=Word.STEP, out=Word.OUT)}
{load_words("i64", table=Word.TABLE, pc=Word.PC, a=Word.A, b=Word.B, depth=Word.DEPTH)}
{load_words("i64", start=Word.CLOCK, issued=Word.ISSUED, left=Word.LEFT)}
{load_words("i64", value_before=Word.VALUE, wrote_before=Word.WROTE, how=Word.HOW)}
  %steps = sub i64 %issued, %left
  %clock = add i64 %start, %steps
  %status = call i64 %step(i64 %table, i64 %pc, i64 %a, i64 %b, i64 %depth, i64 %clock)
  %value = load i64, ptr %out
  %wrote_out = getelementptr i64, ptr %out, i64 {O_WROTE}
  %wrote = load i64, ptr %wrote_out
  store i64 %value, ptr %value_before_at
  store i64 %wrote, ptr %wrote_before_at
  store i64 {STOPPED}, ptr %how_at
  ret i64 %status
}}
"""

_REFILL = f"""
; look for signals, with the GIL; then more spare steps, or GONE
define preserve_mostcc i64 @refill(ptr %p) #0 {{
{load_words("ptr", save=Word.SAVE, restore=Word.RESTORE, signals=Word.SIGNALS, thread=Word.THREAD)}
{load_words("i64", fuel=Word.FUEL, issued=Word.ISSUED, needed=Word.NEEDED, left=Word.LEFT)}
{load_words("i64", how=Word.HOW, budget=Word.BUDGET, cost=Word.A, depth=Word.DEPTH)}
{load_words("i64", slice=Word.SLICE, hands_over=Word.HANDS_OVER)}
  %before = add i64 %left, %cost
  %unspent = add i64 %before, %needed
  store i64 %unspent, ptr %left_at
  call void %restore(ptr %thread)
  %raised = call i32 %signals()
  %again = call ptr %save()
  store ptr %again, ptr %thread_at
  %quiet = icmp eq i32 %raised, 0
  br i1 %quiet, label %on, label %interrupted
interrupted:
  store i64 {INTERRUPTED}, ptr %how_at
  ret i64 {GONE}
on:
  %rest = sub i64 %fuel, %issued
  %whole = add i64 %slice, %needed
  %small = icmp slt i64 %rest, %whole
  %more = select i1 %small, i64 %rest, i64 %whole
  %sum = add i64 %unspent, %more
  %fuelled = icmp sge i64 %sum, %needed
  %rounds = icmp uge i64 %budget, {ROUNDS}
  %enough = and i1 %fuelled, %rounds
  br i1 %enough, label %stay, label %out
stay:
  %in_main = icmp eq i64 %depth, 0
  %wanted = icmp ne i64 %hands_over, 0
  %replaced = and i1 %in_main, %wanted
  br i1 %replaced, label %replace, label %give
replace:
  store i64 {REPLACED}, ptr %how_at
  ret i64 {GONE}
give:
  %total = add i64 %issued, %more
  store i64 %total, ptr %issued_at
  %spare = sub i64 %sum, %needed
  ret i64 %spare
out:
  store i64 {LEFT}, ptr %how_at
  ret i64 {GONE}
}}
"""


_AGAIN = f"""
; a callback has returned A to the frame above DEPTH: 1 for another round, else VALUE is the result
define preserve_mostcc i64 @again(ptr %p) #0 {{
{load_words("ptr", regs=Word.REGS, loops=Word.LOOPS, advance=Word.ADVANCE)}
{load_words("i64", table=Word.TABLE, depth=Word.DEPTH, r0=Word.A, unused=Word.VALUE)}
  %words = mul i64 %depth, {callbacks.ROW}
  %row = getelementptr i64, ptr %loops, i64 %words
  %first = mul i64 %depth, {FRAME_REGISTERS}
  %frame = getelementptr i64, ptr %regs, i64 %first
  store i64 %r0, ptr %frame
  %kind_at = getelementptr i64, ptr %row, i64 {callbacks.KIND}
  %kind = load i64, ptr %kind_at
  %counted = icmp eq i64 %kind, {callbacks.LOOP}
  br i1 %counted, label %loop, label %other
loop:
  %round_at = getelementptr i64, ptr %row, i64 {callbacks.ROUND}
  %before = load i64, ptr %round_at
  %round = add i64 %before, 1
  store i64 %round, ptr %round_at
  %rounds_at = getelementptr i64, ptr %row, i64 {callbacks.ROUNDS}
  %rounds = load i64, ptr %rounds_at
  %some = icmp ult i64 %round, %rounds
  %go = icmp eq i64 %r0, 0
  %more = and i1 %some, %go
  br i1 %more, label %next, label %done
next:
  %context_at = getelementptr i64, ptr %row, i64 {callbacks.CONTEXT}
  %context = load i64, ptr %context_at
  %r1_at = getelementptr i64, ptr %frame, i64 1
  %r2_at = getelementptr i64, ptr %frame, i64 2
  store i64 %round, ptr %r1_at
  store i64 %context, ptr %r2_at
  ret i64 1
done:
  store i64 {callbacks.NO_LOOP}, ptr %kind_at
  store i64 %round, ptr %unused_at
  ret i64 0
other:
  %again = call i64 %advance(i64 %table, i64 %depth)
  %above = getelementptr i64, ptr %frame, i64 -{FRAME_REGISTERS}
  %result = load i64, ptr %above
  store i64 %result, ptr %unused_at
  ret i64 %again
}}
"""


def _arena(size: int) -> str:
    """An arena access that is not aligned, or whose page is absent."""
    kind = f"i{8 * size}"
    wide = "add i64 %narrow, 0" if size == 8 else f"zext {kind} %narrow to i64"
    low = "add i64 %b, 0" if size == 8 else f"trunc i64 %b to {kind}"
    return f"""
; whether the pages of the first and the last byte are there
define internal ptr @place{size}(ptr %p) #0 {{
{load_words("ptr", pages=Word.PAGES, window=Word.WINDOW)}
{load_words("i64", at=Word.AT)}
  %end = add i64 %at, {size - 1}
  %first = ashr i64 %at, {PAGE_SHIFT}
  %last = ashr i64 %end, {PAGE_SHIFT}
  %first_at = getelementptr i8, ptr %pages, i64 %first
  %last_at = getelementptr i8, ptr %pages, i64 %last
  %first_bits = load i8, ptr %first_at
  %last_bits = load i8, ptr %last_at
  %both = and i8 %first_bits, %last_bits
  %present = trunc i8 %both to i1
  %host = getelementptr i8, ptr %window, i64 %at
  %place = select i1 %present, ptr %host, ptr null
  ret ptr %place
}}

define preserve_mostcc i64 @load{size}(ptr %p) #0 {{
  %place = call ptr @place{size}(ptr %p)
  %absent = icmp eq ptr %place, null
  br i1 %absent, label %gone, label %there
there:
  %narrow = load volatile {kind}, ptr %place, align 1
  %value = {wide}
  ret i64 %value
gone:
  %status = call preserve_mostcc i64 @uncommon(ptr %p)
{load_words("i64", result=Word.VALUE)}
  ret i64 %result
}}

define preserve_mostcc void @store{size}(ptr %p) #0 {{
  %place = call ptr @place{size}(ptr %p)
  %absent = icmp eq ptr %place, null
  br i1 %absent, label %gone, label %there
there:
{load_words("i64", b=Word.B)}
  %low = {low}
  store volatile {kind} %low, ptr %place, align 1
  ret void
gone:
  %status = call preserve_mostcc i64 @uncommon(ptr %p)
  ret void
}}
"""


def _reach(kind: str, near: Word, room: Word, host: Word) -> str:
    """Find the region that holds an access, as `owned` does."""
    return f"""
; host address of memory that the program owns, null outside or if it may not be written
define preserve_mostcc ptr @reach_{kind}(ptr %p) #0 {{
{load_words("ptr", regions=Word.REGIONS)}
{load_words("i64", count=Word.REGION_COUNT, address=Word.ADDRESS, size=Word.SIZE)}
{load_words("i64", near=near, room=room, memory=host)}
  br label %next
next:
  %row = phi i64 [ 0, %0 ], [ %following, %outside ]
  %more = icmp ult i64 %row, %count
  br i1 %more, label %look, label %none
look:
  %first = shl i64 %row, 2
  %start_at = getelementptr i64, ptr %regions, i64 %first
  %bytes_at = getelementptr i64, ptr %start_at, i64 {R_BYTES}
  %host_at = getelementptr i64, ptr %start_at, i64 {R_HOST}
  %writable_at = getelementptr i64, ptr %start_at, i64 {R_WRITABLE}
  %start = load i64, ptr %start_at
  %bytes = load i64, ptr %bytes_at
  %host = load ptr, ptr %host_at
  %writable = load i64, ptr %writable_at
  %inside = sub i64 %address, %start
  %rest = sub i64 %bytes, %size
  %fits = icmp uge i64 %bytes, %size
  %within = icmp ule i64 %inside, %rest
  %holds = and i1 %fits, %within
  br i1 %holds, label %held, label %outside
outside:
  %following = add i64 %row, 1
  br label %next
held:
  %may = icmp ne i64 %writable, 0
  %allowed = or i1 %may, {"true" if kind == "load" else "false"}
  br i1 %allowed, label %found, label %none
found:
  %large = icmp uge i64 %bytes, 7
  %less = sub i64 %bytes, 7
  %kept = select i1 %large, i64 %less, i64 0
  store i64 %start, ptr %near_at
  store i64 %kept, ptr %room_at
  store ptr %host, ptr %memory_at
  %pointer = getelementptr i8, ptr %host, i64 %inside
  ret ptr %pointer
none:
  ret ptr null
}}
"""


SUPPORT = (
    _ATTRIBUTES
    + _UNCOMMON
    + _REFILL
    + _AGAIN
    + "".join(_arena(size) for size in (1, 2, 4, 8))
    + _reach("load", Word.NEAR_READ, Word.READ_ROOM, Word.READ_HOST)
    + _reach("store", Word.NEAR_WRITE, Word.WRITE_ROOM, Word.WRITE_HOST)
)
"""A module of the functions whose addresses are in the parameter block, from UNCOMMON to STORE8."""

FUNCTIONS = tuple(word.name.lower() for word in Word if Word.UNCOMMON <= word <= Word.STORE8)
