"""BPF maps, emulated with the kernel's semantics and errno.

map        Map, a dict over either kind of map    emulated   EmulatedMap, one map in memory
layout     the header that compiled code reads    rules      which maps Linux makes
operations what helpers call, by type             table      hashes, per CPU and LRU
trie       longest-prefix match                   queues     queues, stacks, bloom filters
ringbuf    ring buffers                           hashing    Linux's hash of a key
creation   the maps of a program                  codec      keys and values as Python has them
"""

from workbench.bpf.declarations import MapDefinition
from workbench.maps.creation import create
from workbench.maps.map import ANY, EXIST, NOEXIST, Content, Map, drained

__all__ = [
    "ANY",
    "EXIST",
    "NOEXIST",
    "Content",
    "Map",
    "MapDefinition",
    "create",
    "drained",
]
