"""What stray addresses answer on CPUs of 48 and of 57 address bits, emulated, and on this one."""

import errno

import pytest
from support.kernel_support import REASON

import workbench as wb
from workbench.engines.machine import prepared
from workbench.engines.machine.address_bits import AddressBits, parsed

FOUR_LEVELS, FIVE_LEVELS = AddressBits(48, 47), AddressBits(57, 56)
FOUR_OF_FIVE = AddressBits(57, 47)  # a CPU of 57 bits whose kernel uses page tables of four levels

USER_48, USER_57 = 1 << 47, 1 << 56  # the first addresses that are not of user space
HALF_48, HALF_57 = 0xFFFF_8000_0000_0000, 0xFF00_0000_0000_0000  # where kernel space begins
VSYSCALL = 0xFFFF_FFFF_FF60_0000
# Address, and the CPUs that take it for one of kernel space: EFAULT there, else ERANGE.
ADDRESSES = [
    (0, ()),
    (USER_48 - 1, ()),
    (USER_48, (FOUR_OF_FIVE,)),
    (USER_57 - 1, (FOUR_OF_FIVE,)),
    (USER_57, ()),
    (1 << 63, ()),
    (HALF_57 - 1, ()),
    (HALF_57, (FOUR_OF_FIVE, FIVE_LEVELS)),
    (HALF_48 - 1, (FOUR_OF_FIVE, FIVE_LEVELS)),
    (HALF_48, (FOUR_LEVELS, FOUR_OF_FIVE, FIVE_LEVELS)),
    (VSYSCALL - 1, (FOUR_LEVELS, FOUR_OF_FIVE, FIVE_LEVELS)),
    (VSYSCALL, ()),
    (VSYSCALL + 4095, ()),
]
READ = """
    r6 = r1
    r1 = r10
    r1 += -8
    r2 = 1
    r3 = {address} ll
    call bpf_probe_read_kernel
    *(u64 *)(r6 + 0) = r0
    r0 = 0
    exit
"""


def answer(engine: type, address: int) -> int:
    """The errno that bpf_probe_read_kernel gives for an address."""
    with engine(wb.assemble(READ.format(address=address))) as loaded:
        return -int.from_bytes(loaded.run(bytes(8)).ctx, "little", signed=True)


@pytest.mark.parametrize("engine", [wb.Interpreter, wb.Jit])
@pytest.mark.parametrize("bits", [FOUR_LEVELS, FOUR_OF_FIVE, FIVE_LEVELS])
def test_each_cpu_emulated(
    engine: type, bits: AddressBits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared, "address_bits", lambda: bits)
    for address, of_kernel in ADDRESSES:
        expected = errno.EFAULT if bits in of_kernel else errno.ERANGE
        assert answer(engine, address) == expected, hex(address)


@pytest.mark.kernel
@pytest.mark.skipif(bool(REASON), reason=REASON or "bpf(2) works")
def test_this_cpu_is_emulated() -> None:
    for address, _ in ADDRESSES:
        if address < HALF_48 or address >= VSYSCALL:  # elsewhere Linux may have memory
            assert answer(wb.Interpreter, address) == answer(wb.Kernel, address), hex(address)


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("flags\t\t: fpu\naddress sizes\t: 46 bits physical, 48 bits virtual\n", FOUR_LEVELS),
        ("flags\t\t: fpu\naddress sizes\t: 52 bits physical, 57 bits virtual\n", FOUR_OF_FIVE),
        ("flags : fpu la57 lm\naddress sizes : 52 bits physical, 57 bits virtual\n", FIVE_LEVELS),
        ("Features\t: fp asimd\n", FOUR_LEVELS),
        ("", FOUR_LEVELS),
    ],
)
def test_the_bits_are_read_of_the_cpu(text: str, bits: AddressBits) -> None:
    assert parsed(text) == bits
