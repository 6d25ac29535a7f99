"""What threads may share they share; the rest is an error or takes turns, and never hangs."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import workbench as wb
from workbench.errors import WorkbenchError

ENGINES = pytest.mark.parametrize("engine", [wb.Interpreter, wb.Jit])
LONG = "r1 = 300000000\nback:\nr1 -= 1\nif r1 != 0 goto back\nr0 = 7\nexit"
COUNT = """
.map m hash key=8 value=8 entries=64
r6 = 20000
back:
r1 = r6
r1 &= 127
*(u64 *)(r10 - 8) = r1
*(u64 *)(r10 - 16) = r6
r1 = m ll
r2 = r10
r2 += -8
r3 = r10
r3 += -16
r4 = 0
call bpf_map_update_elem
r1 = m ll
r2 = r10
r2 += -8
call bpf_map_delete_elem
r6 -= 1
if r6 != 0 goto back
r0 = 7
exit
"""


@ENGINES
def test_an_engine_runs_in_one_thread_at_a_time(engine: type) -> None:
    begun = threading.Barrier(3)

    def run(machine: "wb.Interpreter | wb.Jit") -> object:
        begun.wait()
        try:
            return machine.run(fuel=20_000_000).stop
        except WorkbenchError as error:
            return str(error)

    with engine(wb.assemble(LONG, type="raw")) as machine, ThreadPoolExecutor(3) as threads:
        found = list(threads.map(run, [machine] * 3))
        again = machine.run(fuel=10)
    refused = [text for text in found if text != "fuel"]
    assert len(refused) < 3
    assert all("make an engine for each thread" in str(text) for text in refused)
    assert again.stop == "fuel"


@ENGINES
def test_engines_of_several_threads_take_turns_with_a_map(engine: type) -> None:
    program = wb.assemble(COUNT, type="raw")
    map = wb.Map(program.maps[0])
    engines = [engine(program, maps={"m": map}) for _ in range(3)]
    with ThreadPoolExecutor(4) as threads:
        runs = [threads.submit(machine.run) for machine in engines]
        other = threads.submit(lambda: [map.update(key, key) for key in range(1000, 1032)])
        assert [run.result().r0 for run in runs] == [7, 7, 7]
        other.result()
    assert dict(map) == {key: key for key in range(1000, 1032)}


def test_a_map_serves_several_threads() -> None:
    map = wb.Map(wb.MapDefinition("m", "hash", 8, 8, 64))

    def work(start: int) -> None:
        for turn in range(3000):
            key = start + turn % 16
            map[key] = turn
            assert map[key] == turn
            del map[key]

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(work, (0, 100, 200)))
    assert dict(map) == {}


@ENGINES
def test_a_page_may_go_while_its_text_is_printed(engine: type) -> None:
    """Another engine frees the page of which bpf_trace_printk prints a text, again and again."""
    arena = wb.Arena(4)
    arena.user.write(arena.user_start, b"text " * 100 + b"\0")
    text = """
    r6 = 3000
    back:
    r1 = 0x7325
    *(u64 *)(r10 - 8) = r1
    r1 = r10
    r1 += -8
    r2 = 3
    r3 = arena + 0 ll
    call bpf_trace_printk
    r6 -= 1
    if r6 != 0 goto back
    r0 = 7
    exit
    """
    stop = threading.Event()

    def free() -> None:
        while not stop.is_set():
            arena.free(arena.user_start, 1)
            arena.alloc(1, arena.user_start)
            arena.user.write(arena.user_start, b"text")

    thread = threading.Thread(target=free)
    with engine(wb.assemble(text, type="raw"), arena=arena) as machine:
        thread.start()
        try:
            assert machine.run().r0 == 7
        finally:
            stop.set()
            thread.join()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of fork, while threads run
def test_a_fork_may_come_while_a_thread_changes_arena_and_map() -> None:
    arena, map = wb.Arena(64), wb.Map(wb.MapDefinition("m", "hash", 8, 8, 64))
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            arena.free(arena.alloc(8), 8)
            map[1] = 1

    arena.free(arena.alloc(1))  # what is compiled must be before the fork
    map[1] = 1
    thread = threading.Thread(target=change)
    thread.start()
    try:
        left = [_child(arena, map) for _ in range(20)]
    finally:
        stop.set()
        thread.join()
    assert left == [0] * 20


def _child(arena: "wb.Arena", map: "wb.Map") -> int:
    """What a child ends with that allocates and updates; the signal, if it hangs."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(300)
    done = bool(arena.alloc(1))
    map[2] = 2
    os._exit(0 if done else 1)
