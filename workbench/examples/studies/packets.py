"""Requests to the key-value store as packets: made, read from pcap files, and replies taken apart.

A request is memcached's over UDP: 8 bytes of frame header, 24 of binary header with opcode GET, the
key; padded to 100 bytes so that the reply fits (data/programs/studies/kv.c).
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import dpkt
import numpy as np

from workbench.errors import WorkbenchError
from workbench.files import replacing

PORT = 11211  # memcached's
PAYLOAD_BYTES = 100  # a reply's: 8 and 24 of header, 4 of flags, 64 of value
_FRAME = struct.Struct(">HHHH")  # request, sequence, datagrams, reserved
_HEADER = struct.Struct(">BBHBBHIIQ")
CLIENT, SERVER = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")


class Reply(NamedTuple):
    """A reply to a get: the number that the request bore, status 0 if found, flags and value."""

    opaque: int
    status: int
    flags: int
    value: bytes


def request(key: bytes, opaque: int = 0, version: int = 4, source_port: int = 40000) -> bytes:
    """One get as an Ethernet frame, over IPv4 or IPv6, with right checksums."""
    header = _HEADER.pack(0x80, 0, len(key), 0, 0, 0, len(key), opaque, 0)
    payload = (_FRAME.pack(opaque & 0xFFFF, 0, 1, 0) + header + key).ljust(PAYLOAD_BYTES, b"\0")
    return packet(payload, version, source_port)


def packet(payload: bytes, version: int = 4, source_port: int = 40000, port: int = PORT) -> bytes:
    """A UDP packet with this payload as an Ethernet frame."""
    udp = dpkt.udp.UDP(sport=source_port, dport=port, data=payload)
    udp.ulen = 8 + len(payload)
    if version == 4:
        ip = dpkt.ip.IP(src=bytes((10, 0, 0, 1)), dst=bytes((10, 0, 0, 2)), p=17, ttl=64, data=udp)
        ip.len = 20 + udp.ulen
        return bytes(dpkt.ethernet.Ethernet(dst=SERVER, src=CLIENT, type=0x0800, data=ip))
    udp.sum = 0
    net = bytes.fromhex("fd00" + "00" * 13)
    ip6 = dpkt.ip6.IP6(src=net + b"\1", dst=net + b"\2", nxt=17, hlim=64, plen=udp.ulen, data=udp)
    ip6.extension_hdrs = {}
    udp.sum = udp_checksum(ip6.src, ip6.dst, bytes(udp))
    return bytes(dpkt.ethernet.Ethernet(dst=SERVER, src=CLIENT, type=0x86DD, data=bytes(ip6)))


def udp_checksum(source: bytes, target: bytes, segment: bytes) -> int:
    """The checksum of a UDP segment whose own field is 0 (RFC 768, RFC 8200 section 8.1)."""
    pseudo = source + target + struct.pack(">II", len(segment), 17)
    text = pseudo + segment + bytes(len(segment) % 2)
    total = sum(struct.unpack(f">{len(text) // 2}H", text))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF or 0xFFFF


def read_reply(frame: bytes) -> Reply:
    """Take a reply apart; raises WorkbenchError for a wrong address, checksum or header."""
    ethernet = dpkt.ethernet.Ethernet(frame)
    ip = ethernet.data
    udp = ip.data
    segment = bytes(udp)
    if (ethernet.src, ethernet.dst, udp.sport) != (SERVER, CLIENT, PORT):
        raise WorkbenchError("the reply does not go back where the request came from")
    blank = segment[:6] + b"\0\0" + segment[8:]
    if udp.sum != udp_checksum(ip.src, ip.dst, blank):
        raise WorkbenchError(f"the reply's UDP checksum is {udp.sum:#06x}, which is wrong")
    magic, opcode, key, extras, _, status, body, opaque, _ = _HEADER.unpack(udp.data[8:32])
    if (magic, opcode, key, extras) != (0x81, 0, 0, 4) or not 4 <= body <= 68:
        raise WorkbenchError("the reply is no answer to a get")
    flags = struct.unpack(">I", udp.data[32:36])[0]
    return Reply(opaque, status, flags, udp.data[36 : 32 + body])


def read_pcap(path: str | Path) -> list[bytes]:
    """The frames of a pcap file; raises WorkbenchError for a file that is none."""
    try:
        with open(path, "rb") as file:
            return [bytes(frame) for _, frame in dpkt.pcap.UniversalReader(file)]
    except OSError as error:
        raise WorkbenchError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, dpkt.dpkt.Error) as error:
        raise WorkbenchError(f"{path} is not a pcap file: {error}") from None


def write_pcap(path: str | Path, frames: Iterable[bytes]) -> None:
    """Write frames as a pcap file, one microsecond apart; raises SaveError where that fails."""
    with replacing(path) as temporary, open(temporary, "wb") as file:
        writer = dpkt.pcap.Writer(file, nano=False)
        for number, frame in enumerate(frames):
            writer.writepkt(frame, ts=number / 1e6)


def zipf_requests(
    keys: Sequence[bytes], count: int, seed: int, exponent: float = 1.1
) -> Iterator[bytes]:
    """Requests for keys drawn by Zipf's law, the first being the most wanted; IPv4 and IPv6."""
    draw = np.random.default_rng(seed)
    weights = 1.0 / np.arange(1, len(keys) + 1) ** exponent
    chosen = draw.choice(len(keys), size=count, p=weights / weights.sum())
    for number, key in enumerate(chosen.tolist()):
        yield request(keys[key], number, version=6 if number % 4 == 3 else 4)


def hostile(key: bytes) -> dict[str, bytes]:
    """Frames that must pass untouched, by what is wrong with them; `key` is one that is stored."""
    good, good6 = request(key), request(key, version=6)

    def changed(at: int, *content: int, frame: bytes = good) -> bytes:
        return frame[:at] + bytes(content) + frame[at + len(content) :]

    return {
        "empty": b"\0" * 14,
        "not IP": changed(12, 0x08, 0x06),
        "cut in the IP header": good[:30],
        "cut in the UDP header": good[:40],
        "cut in the request": good[:-1],
        "cut in the IPv6 request": good6[:-1],
        "IP options": changed(14, 0x46),
        "IP version 6 in an IPv4 frame": changed(14, 0x65),
        "first fragment": changed(20, 0x20, 0x00),
        "later fragment": changed(20, 0x00, 0x10),
        "TCP": changed(23, 6),
        "IPv6 with another header first": changed(20, 43, frame=good6),
        "wrong IP length": changed(16, 0xFF, 0xFF),
        "wrong UDP length": changed(38, 0xFF, 0xFF),
        "another port": packet(good[42:], port=11212),
        "a reply": changed(50, 0x81),
        "a set": changed(51, 1),
        "key of 0 bytes": changed(52, 0, 0),
        "key of 33 bytes": changed(52, 0, 33),
        "key of 65535 bytes": changed(52, 0xFF, 0xFF),
        "extras": changed(54, 4),
        "body longer than the key": changed(58, 0, 0, 0, 99),
        "two datagrams": changed(46, 0, 2),
        "an unknown key": request(b"nobody stored this"),
    }
