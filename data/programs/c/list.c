/* A linked list in an arena, which user space follows through the pointers it finds there. */
#include "arena.h"

ARENA(arena, 64);

struct node {
	struct node __arena *next;
	__u64 value;
};

struct node __arena *__arena list_head;
__u64 __arena list_length;
__u64 __arena seed = 7;
struct arena_pool __arena pool;

static __noinline int list_add(__u64 value)
{
	struct node __arena *node = arena_take(&arena, &pool, sizeof(*node));

	if (!node)
		return 0;
	node->value = value;
	node->next = list_head;
	list_head = node;
	list_length += 1;
	return 1;
}

static __noinline __u64 list_sum(void)
{
	__u64 sum = 0;

	for (struct node __arena *node = list_head; node && can_loop; node = node->next)
		sum += node->value;
	return sum;
}

/* ctx: how many nodes to add. Returns how many were added. */
SEC("syscall") int add(__u64 *ctx)
{
	__u64 added = 0;

	for (__u64 count = ctx[0]; added < count && can_loop; added++) {
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		if (!list_add(seed >> 56))
			break;
	}
	return added;
}

/* ctx: sum of the values out. Returns the length of the list. */
SEC("syscall") int walk(__u64 *ctx)
{
	ctx[0] = list_sum();
	return list_length;
}

/* ctx: value in, nodes removed out. */
SEC("syscall") int delete(__u64 *ctx)
{
	struct node __arena *__arena *place = &list_head;
	__u64 value = ctx[0], removed = 0;

	while (*place && can_loop) {
		struct node __arena *node = *place;

		if (node->value == value) {
			*place = node->next;
			removed++;
		} else {
			place = &node->next;
		}
	}
	list_length -= removed;
	ctx[0] = removed;
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
