"""The models behind the views: requests for memory, allocators, faults, pointer conversion.

requests       logs of allocations and frees       workloads      logs from generators and traces
allocators     policies that replay such logs      fragmentation  what is free, and how usable
faults         page faults as one table            conversion     what a cast costs, and who pays
"""
