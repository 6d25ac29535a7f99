/* A ring of records in an arena: a program writes events, user space reads them without a system
 * call. Positions count bytes for ever; their remainder is the place in the ring. The writer stores a
 * record whole before it moves `produced`; the reader moves `consumed` when it is done with one. A
 * record that does not fit is counted and left out: the writer never waits. */
#include "arena.h"

ARENA(arena, 64);

#define RING_BYTES (16 * PAGE_SIZE)

struct record {
	__u64 number;
	__u64 payload;
	__u64 check; /* number ^ payload ^ a constant: a torn record shows */
	__u64 unused;
};

char __arena *__arena ring;
__u64 __arena produced;
__u64 __arena consumed;
__u64 __arena lost;
__u64 __arena numbered;

static __noinline int push(__u64 payload)
{
	struct record __arena *record;
	__u64 at = produced;

	if (!ring) {
		ring = bpf_arena_alloc_pages(&arena, NULL, RING_BYTES / PAGE_SIZE, NUMA_NO_NODE, 0);
		if (!ring)
			return -1;
	}
	numbered++;
	if (at - consumed > RING_BYTES - sizeof(*record)) {
		lost++;
		return 0;
	}
	record = (struct record __arena *)((char __arena *)ring + at % RING_BYTES);
	record->number = numbered;
	record->payload = payload;
	record->check = numbered ^ payload ^ 0x5bd1e995;
	asm volatile("" : : : "memory"); /* x86 keeps stores in order */
	produced = at + sizeof(*record);
	return 1;
}

/* ctx: how many records, the payload of the first; payloads count up. Returns how many fitted. */
SEC("syscall") int produce(__u64 *ctx)
{
	__u64 written = 0, count = ctx[0], payload = ctx[1];

	for (__u64 n = 0; n < count && can_loop; n++)
		written += push(payload + n) == 1;
	return written;
}

char LICENSE[] SEC("license") = "GPL";
