"""Where the emulated machine keeps a program's memory: addresses like those of a real kernel."""

FRAME_BYTES = 512  # MAX_BPF_STACK of include/linux/filter.h
MAX_FRAMES = 8  # MAX_CALL_FRAMES of include/linux/bpf_verifier.h
STACK_BYTES = MAX_FRAMES * FRAME_BYTES
CPU_BYTES = 1 << 20  # from one CPU's stack and context to the next one's
STACK_START = 0xFFFFC90000000000  # the frame of depth d ends at STACK_START + STACK_BYTES - 512 * d
CTX_START = 0xFFFF888000000000  # where Linux maps all memory (x86-64)
MEMORY_START = 0xFFFF888100000000
MAP_HANDLE = 0xFFFF888300000000  # of the arena; the handle of map n is MAP_HANDLE + n * HANDLE_STEP
HANDLE_STEP = 0x400  # bytes from one handle to the next; any step does
PART_BITS = 33  # a part is 8 GiB, its number a shift of the address
MAPS_START = 0xFFFF888400000000  # map n has two parts of 1 << PART_BITS: its values, then its keys
PACKET_START = 0x10000000  # below 4 GiB, so that a u32 field of a context holds a packet pointer
CODE_START = 0xFFFFFFFFC0000000  # where Linux keeps modules and programs (x86-64)
ETHERNET = 14  # bytes of the header that a packet begins with


def frame_pointer(depth: int, cpu: int = 0) -> int:
    """Where the stack of the frame at `depth` ends, on a CPU."""
    return STACK_START + cpu * CPU_BYTES + STACK_BYTES - depth * FRAME_BYTES


def map_handle(number: int) -> int:
    """What a program gets for a map that it names; the arena is number 0."""
    return MAP_HANDLE + number * HANDLE_STEP


def map_values(number: int) -> int:
    """Address of the first value of map `number`, from 1 on."""
    return MAPS_START + ((number - 1) << (PART_BITS + 1))


def map_keys(number: int) -> int:
    """Address of the first key of map `number`."""
    return map_values(number) + (1 << PART_BITS)
