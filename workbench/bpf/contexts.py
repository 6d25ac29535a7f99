"""What a context is: a structure that a program is started with, read and written by fields.

Linux checks an access against such a table and then rewrites it to the kernel's own structures, so
offsets are those of include/uapi/linux/bpf.h. Which type of program has which context is in
`workbench.bpf.program_types`.
"""

from typing import NamedTuple

ANYWHERE = ("",)
"""Writable are all bytes of a structure without fields: an access there has no name."""


class Field(NamedTuple):
    """Bytes [offset, offset + size) of a context.

    `loads` is what a load gives: "scalar", "packet", "packet_end" or "packet_meta". A `narrow`
    field may be loaded in aligned parts, a `free` one also stored in parts of up to 8 bytes.
    `begins` is what a test run puts there: "length", "packet_kind", "protocol", "loopback" (the
    number of that device), or "" for zero.
    """

    name: str
    offset: int
    size: int
    loads: str = "scalar"
    narrow: bool = True
    free: bool = False
    begins: str = ""

    def allows(self, offset: int, size: int, write: bool) -> bool:
        """Whether these bytes are the field, or a part of it that may be touched alone."""
        if offset % size:
            return False
        if self.free or (self.narrow and not write):
            return self.offset <= offset and offset + size <= self.offset + self.size
        return (offset, size) == (self.offset, self.size)


class Context(NamedTuple):
    """A structure of `size` bytes; without `fields` it may be loaded anywhere, aligned.

    `writable` names the fields that may be stored to.
    """

    name: str
    size: int
    fields: tuple[Field, ...] = ()
    writable: tuple[str, ...] = ()

    def field_at(self, offset: int, size: int, write: bool) -> Field | None:
        """The field that an access touches; None if the access is not allowed.

        Without fields, it is a nameless one of the accessed bytes.
        """
        fields = self.fields
        if not fields and offset >= 0 and offset + size <= self.size:
            fields = (Field("", offset, size),)
        return next((f for f in fields if self._allows(f, offset, size, write)), None)

    def _allows(self, field: Field, offset: int, size: int, write: bool) -> bool:
        return (not write or field.name in self.writable) and field.allows(offset, size, write)

    def without(self, names: str, writable: str = "") -> "Context":
        """The structure as a program sees it that lacks some fields; names parted by spaces."""
        missing = names.split()
        fields = tuple(field for field in self.fields if field.name not in missing)
        return self._replace(fields=fields, writable=tuple(writable.split()))
