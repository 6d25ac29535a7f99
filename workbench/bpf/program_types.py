"""The types of program, a row each: all that assembler, verifier, engines and commands ask of one.

A new type is a row here and nothing elsewhere, as long as its run begins in one of the ways that
there are: with bytes of its context, or with a packet.

Sources: include/uapi/linux/bpf.h (numbers, structures), tools/lib/bpf/libbpf.c (section_defs),
net/core/filter.c, kernel/bpf/syscall.c and kernel/trace/bpf_trace.c (*_is_valid_access and
*_func_proto), kernel/bpf/verifier.c (may_access_direct_pkt_data, check_return_code,
may_be_in_ld_abs), net/bpf/test_run.c.
"""

from typing import NamedTuple

from workbench.bpf.addresses import ETHERNET
from workbench.bpf.contexts import ANYWHERE, Context, Field
from workbench.errors import WorkbenchError


class ProgramType(NamedTuple):
    """A type of program.

    `number` is that of enum bpf_prog_type, `attach` that of enum bpf_attach_type where loading
    asks for one. `sections` are libbpf's section names, which may go on after "/" or "." ("tc",
    so "tc/ingress"), `section_prefixes` those that may go on anyhow ("socket1"). `sleepable`
    programs may always sleep.

    `context` is what r1 points to, None for plain memory. `input` is what a run is given:
    "context" (its bytes), "packet", "frame" (a packet in a page, with room around it) or "memory"
    (bytes at r1, their number in r2). `hidden` bytes of a packet come before what the program
    sees. `packet` says how the program may touch a packet directly: "", "r" or "rw".

    `functions` are the groups of functions that it may call (see `Function.group`), `classic`
    whether it may use LD_ABS and LD_IND, `lockless` what Linux calls programs that may use no
    bpf_spin_lock, `returns` the least and the greatest r0 that the verifier wants, if it does.
    """

    name: str
    number: int
    sections: tuple[str, ...]
    context: Context | None
    functions: tuple[str, ...]
    input: str = "context"
    section_prefixes: tuple[str, ...] = ()
    attach: int = 0
    sleepable: bool = False
    hidden: int = 0
    packet: str = ""
    classic: bool = False
    lockless: str = ""
    returns: tuple[int, int] | None = None

    @property
    def raw(self) -> bool:
        """Whether it is bytecode on plain memory, which Linux does not know."""
        return self.input == "memory"

    @property
    def takes_packet(self) -> bool:
        """Whether a run is given a packet, and gives one back."""
        return self.input in ("packet", "frame")


_SKB = Context("__sk_buff", 192, (
    Field("len", 0, 4, begins="length"),
    Field("pkt_type", 4, 4, begins="packet_kind"),
    Field("mark", 8, 4),
    Field("queue_mapping", 12, 4),
    Field("protocol", 16, 4, begins="protocol"),
    Field("vlan_present", 20, 4),
    Field("vlan_tci", 24, 4),
    Field("vlan_proto", 28, 4),
    Field("priority", 32, 4),
    Field("ingress_ifindex", 36, 4),
    Field("ifindex", 40, 4, begins="loopback"),
    Field("tc_index", 44, 4),
    Field("cb", 48, 20, free=True),
    Field("hash", 68, 4),
    Field("tc_classid", 72, 4),
    Field("data", 76, 4, "packet", False),
    Field("data_end", 80, 4, "packet_end", False),
    Field("napi_id", 84, 4),
    Field("data_meta", 140, 4, "packet_meta", False),
    Field("tstamp", 152, 8, narrow=False),
    Field("wire_len", 160, 4),
    Field("gso_segs", 164, 4),
    Field("gso_size", 176, 4),
    Field("tstamp_type", 180, 1),
    Field("hwtstamp", 184, 8, narrow=False),
))  # fmt: skip
"""struct __sk_buff; socket pointers and flow keys are left out."""

_XDP = Context("xdp_md", 24, (
    Field("data", 0, 4, "packet", False),
    Field("data_end", 4, 4, "packet_end", False),
    Field("data_meta", 8, 4, "packet_meta", False),
    Field("ingress_ifindex", 12, 4, narrow=False, begins="loopback"),
    Field("rx_queue_index", 16, 4, narrow=False),
))  # fmt: skip
"""struct xdp_md; egress_ifindex exists only behind a device map."""

_ROWS = (
    ProgramType(
        "syscall",
        number=31,
        sections=("syscall",),
        sleepable=True,
        context=Context("void", 0x10000, writable=ANYWHERE),  # Linux gives it no structure
        functions=("base", "exceptions"),
    ),
    ProgramType(
        "raw",
        number=0,
        sections=(),
        context=None,
        input="memory",
        functions=(),  # nothing is proven of its calls
    ),
    ProgramType(
        "socket_filter",
        number=1,
        sections=("socket",),
        section_prefixes=("socket",),
        context=_SKB.without(
            "tc_classid data data_end data_meta tstamp wire_len tstamp_type hwtstamp",
            writable="cb",
        ),
        input="packet",
        hidden=ETHERNET,
        classic=True,
        lockless="socket filter progs",
        functions=("base", "skb"),
    ),
    ProgramType(
        "tc",
        number=3,
        sections=("tc", "tcx", "netkit", "classifier", "action"),
        context=_SKB.without(
            "", writable="mark queue_mapping priority tc_index cb tc_classid tstamp"
        ),
        input="packet",
        packet="rw",
        classic=True,
        functions=("base", "exceptions", "skb", "skb_store", "checksum"),
    ),
    ProgramType(
        "xdp",
        number=6,
        sections=("xdp",),
        section_prefixes=("xdp",),
        context=_XDP,
        input="frame",
        packet="rw",
        functions=("base", "exceptions", "packet_ends", "checksum"),
    ),
    ProgramType(
        "raw_tp",
        number=17,
        sections=("raw_tp", "raw_tracepoint"),
        context=Context("bpf_raw_tracepoint_args", 96),
        lockless="tracing progs",
        functions=("base",),
    ),
)

PROGRAM_TYPES: dict[str, ProgramType] = {row.name: row for row in _ROWS}
"""By name, the usual one first."""


def of_section(section: str) -> ProgramType:
    """The type of the programs in a section of an object file, as libbpf reads its name.

    Raises WorkbenchError for a section that has none here.
    """
    name = section.removeprefix("?")
    for row in PROGRAM_TYPES.values():
        longer = tuple(known + sign for known in row.sections for sign in "/.")
        if name in row.sections or name.startswith((*longer, *row.section_prefixes)):
            return row
    known = ", ".join(name for row in PROGRAM_TYPES.values() for name in row.sections)
    raise WorkbenchError(f"section '{section}' is not supported; there is {known}")
