"""The three uses of an arena that its authors named, each as a whole.

kv          a key-value store: user space writes, XDP answers
packets     requests to it as packets, and what must pass untouched
structures  lists, tables and trees that programs build and user space walks: their invariants
heap        the arena as a heap: an allocator in C, and what it wastes
"""
