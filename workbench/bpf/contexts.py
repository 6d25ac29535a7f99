"""The context of a program of each type: its fields as a program may load and store them.

Linux checks an access against this table and then rewrites it to the kernel's own structures, so
offsets are those of include/uapi/linux/bpf.h. Sources: net/core/filter.c (the functions named
*_is_valid_access), kernel/bpf/syscall.c, kernel/trace/bpf_trace.c.
"""

from typing import NamedTuple


class Field(NamedTuple):
    """Bytes [offset, offset + size) of a context.

    `loads` is what a load gives: "scalar", "packet", "packet_end" or "packet_meta". A `narrow`
    field may be loaded in aligned parts, a `free` one also stored in parts of up to 8 bytes.
    `types` are the program types that have the field, `writable` those that may store to it.
    """

    name: str
    offset: int
    size: int
    loads: str = "scalar"
    narrow: bool = True
    types: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()
    free: bool = False

    def allows(self, type: str, offset: int, size: int, write: bool) -> bool:
        """Whether a program of `type` may load or store these bytes."""
        if type not in (self.writable if write else self.types) or offset % size:
            return False
        if self.free or (self.narrow and not write):
            return self.offset <= offset and offset + size <= self.offset + self.size
        return (offset, size) == (self.offset, self.size)


class Context(NamedTuple):
    """A structure of `size` bytes; without `fields` it may be loaded anywhere, aligned."""

    name: str
    size: int
    fields: tuple[Field, ...] = ()
    writable: bool = False


_TC = ("tc",)
_XDP = ("xdp",)
_BOTH = ("socket_filter", "tc")

SKB_FIELDS = (
    Field("len", 0, 4, types=_BOTH),
    Field("pkt_type", 4, 4, types=_BOTH),
    Field("mark", 8, 4, types=_BOTH, writable=_TC),
    Field("queue_mapping", 12, 4, types=_BOTH, writable=_TC),
    Field("protocol", 16, 4, types=_BOTH),
    Field("vlan_present", 20, 4, types=_BOTH),
    Field("vlan_tci", 24, 4, types=_BOTH),
    Field("vlan_proto", 28, 4, types=_BOTH),
    Field("priority", 32, 4, types=_BOTH, writable=_TC),
    Field("ingress_ifindex", 36, 4, types=_BOTH),
    Field("ifindex", 40, 4, types=_BOTH),
    Field("tc_index", 44, 4, types=_BOTH, writable=_TC),
    Field("cb", 48, 20, types=_BOTH, writable=_BOTH, free=True),
    Field("hash", 68, 4, types=_BOTH),
    Field("tc_classid", 72, 4, types=_TC, writable=_TC),
    Field("data", 76, 4, "packet", False, _TC),
    Field("data_end", 80, 4, "packet_end", False, _TC),
    Field("napi_id", 84, 4, types=_BOTH),
    Field("data_meta", 140, 4, "packet_meta", False, _TC),
    Field("tstamp", 152, 8, "scalar", False, _TC, _TC),
    Field("wire_len", 160, 4, types=_TC),
    Field("gso_segs", 164, 4, types=_BOTH),
    Field("gso_size", 176, 4, types=_BOTH),
    Field("tstamp_type", 180, 1, types=_TC),
    Field("hwtstamp", 184, 8, "scalar", False, _TC),
)
"""struct __sk_buff (192 bytes); socket pointers and flow keys are left out."""

XDP_FIELDS = (
    Field("data", 0, 4, "packet", False, _XDP),
    Field("data_end", 4, 4, "packet_end", False, _XDP),
    Field("data_meta", 8, 4, "packet_meta", False, _XDP),
    Field("ingress_ifindex", 12, 4, "scalar", False, _XDP),
    Field("rx_queue_index", 16, 4, "scalar", False, _XDP),
)
"""struct xdp_md (24 bytes); egress_ifindex exists only behind a device map."""

CONTEXTS: dict[str, Context] = {
    "syscall": Context("bpf_syscall", 0x10000, writable=True),
    "socket_filter": Context("__sk_buff", 192, SKB_FIELDS),
    "tc": Context("__sk_buff", 192, SKB_FIELDS),
    "xdp": Context("xdp_md", 24, XDP_FIELDS),
    "raw_tp": Context("bpf_raw_tracepoint_args", 96),
}
"""By program type; `raw` has plain memory instead."""


def field_of(type: str, offset: int, size: int, write: bool) -> Field | None:
    """Return the field that an access to the context of a program touches; None if not allowed.

    Loads of a context without fields give a scalar field of the accessed bytes.
    """
    context = CONTEXTS[type]
    if not context.fields:
        allowed = offset >= 0 and offset % size == 0 and offset + size <= context.size
        whole = Field("", offset, size, "scalar")
        return whole if allowed and (context.writable or not write) else None
    return next((f for f in context.fields if f.allows(type, offset, size, write)), None)
