"""The emulated machine that interpreter and jit share.

state      registers, memory, counters and recordings as arrays     prepared  a program made ready
inputs     context and packet of a run          bound_maps  a program's maps, numbered
joined     programs one after the other         memory      regions, loads, stores, atomics
helpers    what helpers do                      callbacks   bpf_loop and its kin
packets    helpers of packets                   probes      reads that may fail
printing   formats of bpf_printk                uncommon    the less common instructions
entries    what loop and machine code call      observe     events and counters
recorded   a recording being made
"""

from workbench import moved

__getattr__ = moved.parts(__name__)
