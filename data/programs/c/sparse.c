/* A sparse array over the largest arena, 4 GiB: memory costs only where it is used. */
#include "arena.h"

ARENA(arena, 1 << 20);

#define STRIDE (1ULL << 26) /* 64 MiB */

__u64 __arena *__arena first;
__u32 __arena made;

/* ctx: count. Allocates pages far apart and leaves a number on each. Returns how many it got. */
SEC("syscall") int scatter(__u64 *ctx)
{
	char __arena *base = bpf_arena_alloc_pages(&arena, NULL, 1, NUMA_NO_NODE, 0);
	__u64 count = ctx[0];

	if (!base)
		return 0;
	first = (__u64 __arena *)base;
	for (__u64 i = 0; i < count && can_loop; i++) {
		__u64 __arena *page = (void __arena *)(base + i * STRIDE);

		if (i)
			page = bpf_arena_alloc_pages(&arena, page, 1, NUMA_NO_NODE, 0);
		if (!page)
			break;
		page[i] = i * i + 1;
		made++;
	}
	return made;
}

/* ctx: count in, sum out. Reads between the pages too, where there is nothing but zeros. */
SEC("syscall") int gather(__u64 *ctx)
{
	char __arena *base = (char __arena *)first;
	__u64 count = ctx[0], sum = 0;

	use_arena(arena);
	for (__u64 i = 0; i < count && can_loop; i++) {
		__u64 __arena *page = (void __arena *)(base + i * STRIDE);

		sum += page[i] + page[i + 8 * PAGE_SIZE];
	}
	ctx[0] = sum;
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
