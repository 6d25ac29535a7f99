"""Actions that run code of the program again and again: callbacks and iterators; and bpf_throw."""

from support import wire as b

from generate.body import Function
from generate.control import MAX_DEPTH, MAX_NESTING, condition, inner_block, restore
from generate.scratch import OUTER, MixedBody
from generate.state import SCALAR
from generate.tables import keep_result, some_map

ROUNDS = (0, 1, 1, 2, 2, 3, 3, 5, 5, 9, 9, 1 << 24, 1 << 32 | 3)
EACH = ("array", "percpu_array", "hash", "percpu_hash", "lru_hash")


def callback(body: MixedBody, name: str, quiet: bool) -> None:
    """Let r2 be a new function and r3 the words that it gets, or NULL; r4 the flags."""
    words = body.chance(0.85)
    function = Function((OUTER,) if words else (), SCALAR, body.function.depth + 1, [], quiet, name)
    body.shared.functions.append(function)
    function.calls.append(body.writer.function(2))
    if words:
        body.stack_address(3, body.words_at)
    else:
        body.writer.alu(b.MOV, 3, imm=0)
    body.writer.alu(b.MOV, 4, imm=int(body.chance(0.04)))


def share_words(body: MixedBody) -> None:
    """Give the words that callbacks see a value."""
    for word in range(4):
        body.store_word(body.words_at + 8 * word)


def too_deep(body: MixedBody) -> bool:
    return body.function.depth + 1 >= MAX_DEPTH or body.nesting > MAX_NESTING


def fetch_words(body: MixedBody) -> None:
    keep_result(body)
    dst = body.target(0)
    body.writer.load(8, dst, 10, body.words_at + 8 * body.rng.randrange(4))
    body.state.kinds[dst] = SCALAR


def call_loop(body: MixedBody) -> None:
    """bpf_loop with a few rounds, none, or too many."""
    if too_deep(body):
        return
    share_words(body)
    src = body.changeable(SCALAR)
    if src is not None and body.chance(0.4):
        body.writer.alu(b.AND, src, imm=7)
        body.writer.alu(b.MOV, 1, src=src, bits=body.rng.choice((32, 64)))
    else:
        body.writer.constant(1, body.rng.choice(ROUNDS))
    callback(body, "loop", body.quiet)
    body.writer.helper(181)
    body.called()
    fetch_words(body)


def call_for_each(body: MixedBody) -> None:
    """bpf_for_each_map_elem; its callback leaves the table as it is, but for the entry it sees."""
    row = some_map(body, *EACH)
    if row is None or too_deep(body) or body.quiet:
        return
    share_words(body)
    body.writer.map(1, row.name)
    callback(body, row.name, True)
    body.writer.helper(164)
    body.called()
    fetch_words(body)


def put_bound(body: MixedBody, register: int, small: tuple[int, ...]) -> None:
    """A constant."""
    body.writer.alu(b.MOV, register, imm=body.rng.choice(small), bits=body.rng.choice((32, 64)))


def iterate(body: MixedBody) -> None:
    """A loop over numbers with an iterator on the stack."""
    if body.nesting >= MAX_NESTING or body.loop_head is not None or body.holding:
        return
    body.stack_address(1, body.iterator_at)
    put_bound(body, 2, (0, 0, 1, -3, 5, -(1 << 31)))
    put_bound(body, 3, (0, 3, 4, 6, 6, -(1 << 31)))
    body.writer.kfunc("bpf_iter_num_new")
    body.called()
    body.writer.alu(b.MOV, 0, src=0, bits=32)
    keep_result(body)
    body.state.kinds[:6] = [None] * 6
    head = len(body.writer)
    body.loop_head, body.holding = body.state.copy(), True
    body.stack_address(1, body.iterator_at)
    body.writer.kfunc("bpf_iter_num_next")
    leave = body.writer.jump(b.JEQ, 0, imm=0)
    dst = body.target()
    body.writer.load(4, dst, 0, 0)
    body.state.kinds[0] = None
    body.state.kinds[dst] = SCALAR
    inner_block(body)
    restore(body)
    body.writer.land(body.writer.emit(0x05), head)
    body.writer.land(leave)
    body.stack_address(1, body.iterator_at)
    body.writer.kfunc("bpf_iter_num_destroy")
    body.state, body.loop_head, body.holding = body.loop_head, None, False


def throw(body: MixedBody) -> None:
    """Leave the program at once, from main; in a loop it may confuse the verifier of Linux 6.18."""
    if body.holding or body.function.depth or body.loop_head is not None:
        return
    position = condition(body)
    body.writer.alu(b.MOV, 1, imm=body.immediate())
    body.writer.kfunc("bpf_throw")
    body.writer.land(position)


ACTIONS = ((call_loop, 2), (call_for_each, 1.5), (iterate, 1.5), (throw, 0.1))
