"""The key-value store: user space writes, programs look up, under every schedule."""

import random
import struct
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.kernel_support import KERNEL, REASON

import workbench as wb
from workbench.debugger.cpus import find_schedule
from workbench.errors import WorkbenchError
from workbench.examples import programs
from workbench.examples.studies import packets
from workbench.examples.studies.kv import Store, Value
from workbench.verifier import remembering

XDP_PASS, XDP_TX = 2, 3
OBJECT = wb.load_object(programs.directory() / "studies" / "kv.o")
ENGINES = [
    pytest.param(wb.Arena, wb.Interpreter, id="interpreter"),
    pytest.param(wb.Arena, wb.Jit, id="jit"),
    pytest.param(wb.KernelArena, wb.Kernel, id="kernel", marks=KERNEL),
]


@pytest.fixture(scope="module", autouse=True)
def verified_once():
    with remembering():
        yield


def store(make=None, entries=64, limit=1024):
    arena = OBJECT.arena(make)
    return Store(arena, arena.user_start + OBJECT.variables["table"].offset, 8, entries, limit)


def question(key: bytes, value: bytes = b"") -> bytes:
    """The context of get and set."""
    return key.ljust(32, b"\0") + value.ljust(64, b"\0") + bytes(8)


def change(kept: Store, model: dict[bytes, bytes], draw: random.Random) -> None:
    """Insert, replace or delete one key in both."""
    key = b"key %d" % draw.randrange(300)
    if key in model and draw.random() < 0.3:
        del kept[key], model[key]
    else:
        kept[key] = model[key] = draw.randbytes(draw.randrange(65))


@pytest.mark.parametrize(("make", "engine"), ENGINES)
def test_programs_find_what_user_space_stored(make, engine):
    kept, model, draw = store(make), {}, random.Random(1)
    for _ in range(600):
        change(kept, model, draw)
    assert {key: kept[key].data for key in kept} == model
    assert len(kept) == len(model)
    with engine(OBJECT.program("get"), kept.arena) as machine:
        for number in range(300):
            key = b"key %d" % number
            result = machine.run(question(key))
            assert result.r0 == (key in model)
            if key in model:
                assert result.ctx[32 : 32 + len(model[key])] == model[key]
    kept.arena.close()


def test_a_full_store_forgets_what_was_not_read():
    kept = store(entries=64, limit=256)
    with wb.Interpreter(OBJECT.program("get"), kept.arena) as machine:
        for number in range(1000):
            kept[b"key %d" % number] = b"x"
            machine.run(question(b"key 0"))
    assert kept.size == 256
    assert 64 < len(kept) <= 180
    assert b"key 0" in kept
    assert b"key 999" in kept


def test_flags_and_replacement_are_kept():
    kept = store()
    kept[b"a"] = Value(b"one", 7)
    kept[b"a"] = Value(b"longer than one", 9)
    assert (kept[b"a"], len(kept)) == (Value(b"longer than one", 9), 1)
    del kept[b"a"]
    with pytest.raises(KeyError):
        kept[b"a"]
    with pytest.raises(KeyError):
        del kept[b"a"]


@pytest.mark.parametrize(("key", "value"), [(b"", b""), (b"k" * 33, b""), (b"k", b"v" * 65)])
def test_what_does_not_fit_is_refused(key, value):
    with pytest.raises(WorkbenchError, match="bytes, not"):
        store()[key] = value


OLD, NEW = b"o" * 64, b"n" * 64


def torn(arena) -> bool:
    """Whether the lookup saw a value that never was stored."""
    seen = arena.user.read(arena.user_start + OBJECT.variables["seen"].offset, 64)
    return seen not in (OLD, NEW, bytes(64))


def one_key():
    kept = store()
    kept[b"k"] = OLD
    return kept.arena


def race(lookup: str, seeds: range):
    programs = [OBJECT.program(lookup), OBJECT.program("set")]
    contexts = [question(b"k"), question(b"k", NEW)]
    return find_schedule(programs, one_key, torn, seeds, contexts, longest=40)


def test_a_schedule_tears_the_naive_lookup():
    assert race("get_naive", range(100)) is not None


def test_no_schedule_tears_the_lookup_with_sequence_numbers(scale):
    assert race("get", range(scale(60, 2000))) is None


def lent(arena) -> bool:
    """Whether the lookup took the value of the key that had the entry in between."""
    seen = arena.user.read(arena.user_start + OBJECT.variables["seen"].offset, 64)
    return seen not in (OLD, bytes(64), b"\2" * 64)


def test_no_schedule_gives_a_key_the_value_of_another(scale):
    values = (b"\1" * 8 + b"\2" * 8).ljust(64, b"\0")
    programs = [OBJECT.program("get"), OBJECT.program("lend")]
    contexts = [question(b"k"), question(b"k", values)]
    gives_up = 332  # after a try that had copied some of the other key's value
    seeds = [gives_up, *range(scale(60, 2000))]
    assert find_schedule(programs, one_key, lent, seeds, contexts, 40) is None
    naive = [OBJECT.program("get_naive"), OBJECT.program("lend")]
    assert find_schedule(naive, one_key, lent, range(100), contexts, 40) is not None


def test_a_lookup_survives_a_resize_at_every_step():
    steps = 1
    while True:
        kept = store()
        kept[b"k"] = OLD
        engine = wb.Interpreter(OBJECT.program("get"), kept.arena)
        stopped = engine.run(question(b"k"), fuel=steps)
        if stopped.stop == "exit":
            break
        kept._rebuild(2 * kept.size)
        result = engine.resume()
        assert (result.r0, result.ctx[32:96]) == (1, OLD), steps
        steps += 7
    assert steps > 100


@pytest.mark.parametrize(("make", "engine"), ENGINES)
def test_native_changes_are_those_of_the_user_view(make, engine):
    kept, draw = store(make), random.Random(2)
    keys = [b"key %d" % draw.randrange(400) for _ in range(900)]
    values = [draw.randbytes(draw.randrange(65)) for _ in keys]
    kept.update(keys, values)
    model = dict(zip(keys, values, strict=True))
    for key in keys[:200]:
        assert kept.discard(key) == (model.pop(key, None) is not None)
    assert {key: kept[key].data for key in kept} == model
    assert len(kept) == len(model)
    with engine(OBJECT.program("get"), kept.arena) as machine:
        for key in set(keys):
            assert machine.run(question(key)).r0 == (key in model)
    kept.arena.close()


@pytest.mark.kernel
@pytest.mark.skipif(bool(REASON), reason=REASON or "bpf(2) works")
def test_linux_sees_no_torn_value_while_user_space_writes(scale):
    kept, count = store(wb.KernelArena), 20_000
    kept.update([b"hot"], [bytes(64)])
    kept.rewrite(b"hot", 1)  # compiled before it is timed
    wanted = kept.arena.user_start + 2000 * 4096
    kept.arena.user.write(wanted, b"hot".ljust(32, b"\0") * count)
    kept.arena.user.store(kept.arena.user_start + OBJECT.variables["wanted"].offset, "u64", wanted)
    writer = threading.Thread(target=kept.rewrite, args=(b"hot", scale(2_000_000, 50_000_000)))
    with wb.Kernel(OBJECT.program("get_many"), kept.arena) as machine:
        writer.start()
        while writer.is_alive():
            found = struct.unpack("<5Q", machine.run(struct.pack("<5Q", count, 0, 0, 0, 0)).ctx)
            assert found[1] + found[3] == count
            assert (found[2], found[4]) == (0, 0)
    writer.join()
    kept.arena.close()


@pytest.mark.parametrize("version", [4, 6])
def test_requests_have_right_checksums(version):
    frame = packets.request(b"abc", 5, version)
    segment = frame[34:] if version == 4 else frame[54:]
    ends = (26, 30, 34) if version == 4 else (22, 38, 54)
    source, target = frame[ends[0] : ends[1]], frame[ends[1] : ends[2]]
    blank = segment[:6] + b"\0\0" + segment[8:]
    checksum = struct.unpack(">H", segment[6:8])[0]
    assert checksum == packets.udp_checksum(source, target, blank)


def test_pcap_files_come_back_as_they_were_written(tmp_path):
    frames = list(packets.zipf_requests([b"a", b"b", b"c"], 20, seed=1))
    packets.write_pcap(tmp_path / "x.pcap", frames)
    assert packets.read_pcap(tmp_path / "x.pcap") == frames
    (tmp_path / "y.pcap").write_bytes(b"no pcap")
    with pytest.raises(WorkbenchError, match="not a pcap file"):
        packets.read_pcap(tmp_path / "y.pcap")


KEYS = [b"key %d" % n for n in range(120)]
STORED = 100


@pytest.mark.parametrize(("make", "engine"), ENGINES)
def test_xdp_answers_a_pcap_and_passes_all_else_untouched(make, engine, tmp_path):
    kept = store(make, limit=256)
    for number, key in enumerate(KEYS[:STORED]):
        kept[key] = Value(b"value %d" % number, number)
    file = tmp_path / "requests.pcap"
    packets.write_pcap(file, packets.zipf_requests(KEYS, 300, seed=3))
    hostile = {what: f for what, f in packets.hostile(KEYS[0]).items() if len(f) >= 14}
    answered = 0
    with engine(OBJECT.program("serve"), kept.arena) as machine:
        for number, frame in enumerate(packets.read_pcap(file)):
            result = machine.run(frame)
            key = frame[74 if len(frame) == 142 else 94 :][:32].rstrip(b"\0")
            if key not in kept:
                assert (result.r0, result.packet) == (XDP_PASS, frame)
                continue
            answered += 1
            n = KEYS.index(key)
            assert result.r0 == XDP_TX
            assert packets.read_reply(result.packet) == packets.Reply(number, 0, n, b"value %d" % n)
        for what, frame in hostile.items():
            result = machine.run(frame)
            assert (result.r0, result.packet) == (XDP_PASS, frame), what
    variables = OBJECT.globals_in(kept.arena)
    assert variables["hits"] == answered > 200
    kept.arena.close()


@pytest.mark.kernel
@pytest.mark.skipif(bool(REASON), reason=REASON or "bpf(2) works")
def test_replies_are_byte_for_byte_those_of_linux():
    replies = {}
    for make, engine in (
        (wb.Arena, wb.Interpreter),
        (wb.Arena, wb.Jit),
        (wb.KernelArena, wb.Kernel),
    ):
        kept = store(make)
        for number, key in enumerate(KEYS[:STORED]):
            kept[key] = Value(b"v" * (number % 65), number)
        with engine(OBJECT.program("serve"), kept.arena) as machine:
            frames = packets.zipf_requests(KEYS, 100, seed=4)
            replies[engine.__name__] = [machine.run(frame).packet for frame in frames]
        kept.arena.close()
    assert replies["Interpreter"] == replies["Jit"] == replies["Kernel"]


@pytest.fixture(scope="module")
def server():
    kept = store()
    kept[b"k"] = b"value"
    with wb.Interpreter(OBJECT.program("serve"), kept.arena) as machine:
        yield machine


@given(
    version=st.sampled_from([4, 6]),
    changes=st.lists(st.tuples(st.integers(0, 161), st.integers(0, 255)), max_size=6),
    length=st.integers(14, 162),
)
def test_hostile_frames_pass_untouched_or_are_answered_whole(server, version, changes, length):
    frame = bytearray(packets.request(b"k", version=version))
    for at, byte in changes:
        frame[at % len(frame)] = byte
    sent = bytes(frame[:length])
    result = server.run(sent)
    assert result.stop == "exit"
    if result.r0 == XDP_PASS:
        assert result.packet == sent
        return
    assert result.r0 == XDP_TX
    assert len(result.packet) == len(sent)
    udp = 34 if sent[12:14] == b"\x08\x00" else 54
    assert sent[udp + 8 + 8] == 0x80
    assert result.packet[udp + 40 :][4:9] == b"value"
