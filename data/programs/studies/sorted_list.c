/* A sorted linked list in an arena. Deleted nodes are used again. */
#include "operate.h"

ARENA(arena, 1024);

struct node {
	struct node __arena *next;
	__u64 key;
	__u64 value;
};

typedef struct node __arena node_t;

node_t *__arena head;
node_t *__arena spare;
struct arena_pool __arena pool;

/* The pointer to the first node whose key is not below `key`: where it is, or belongs. */
static __noinline node_t *__arena *place_of(__u64 key)
{
	node_t *__arena *place = &head;

	while (can_loop) {
		node_t *node = *place;

		if (!node || node->key >= key)
			break;
		place = &node->next;
	}
	return place;
}

__noinline int insert(__u64 key, __u64 value)
{
	node_t *__arena *place = place_of(key);
	node_t *node = *place;

	if (node && node->key == key) {
		node->value = value;
		return 0;
	}
	node = spare;
	if (node)
		spare = node->next;
	else
		node = arena_take(&arena, &pool, sizeof(*node));
	if (!node)
		return -1;
	node->key = key;
	node->value = value;
	node->next = *place;
	*place = node;
	length++;
	return 1;
}

__noinline int erase(__u64 key)
{
	node_t *__arena *place = place_of(key);
	node_t *node = *place;

	use_arena(arena);
	if (!node || node->key != key)
		return 0;
	*place = node->next;
	node->next = spare;
	spare = node;
	length--;
	return 1;
}

__noinline int find(__u64 key)
{
	node_t *node = *place_of(key);

	use_arena(arena);
	return node && node->key == key;
}

SEC("syscall") int iterate(struct contents *ctx)
{
	for (node_t *node = head; node && can_loop; node = node->next)
		note(ctx, node->key, node->value);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
