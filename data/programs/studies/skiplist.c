/* A skip list in an arena: a sorted list with express lanes. A node of height h is in the lists of
 * levels 0 to h - 1; half of the nodes of a level are in the next one, so a search that begins at the
 * top skips most of them. Deleted nodes are used again. */
#include "operate.h"

ARENA(arena, 8192);

#define LEVELS 12

struct node {
	__u64 key;
	__u64 value;
	__u64 height;
	struct node __arena *next[LEVELS];
};

typedef struct node __arena node_t;

node_t first; /* in every level's list, before all keys */
node_t *__arena spare;
struct arena_pool __arena pool;

/* The last node before `key` on each level. */
struct path {
	node_t *before[LEVELS];
};

/* The first node whose key is not below `key`, or NULL, and the way to it. */
static __noinline node_t *find_path(__u64 key, struct path *path)
{
	node_t *at = &first;

	if (!path)
		return NULL;
	for (int level = LEVELS - 1; level >= 0; level--) {
		while (can_loop) {
			node_t *next = at->next[level];

			if (!next || next->key >= key)
				break;
			at = next;
		}
		path->before[level] = at;
	}
	return at->next[0];
}

static __noinline node_t *new_node(void)
{
	node_t *node = spare;

	if (node) {
		spare = node->next[0];
		return node;
	}
	return arena_take(&arena, &pool, sizeof(*node));
}

static __always_inline int height(__u64 bits)
{
	int levels = 1;

	while (levels < LEVELS && bits & 1) {
		bits >>= 1;
		levels++;
	}
	return levels;
}

__noinline int insert(__u64 key, __u64 value)
{
	struct path path = {};
	node_t *node;

	node = find_path(key, &path);
	if (node && node->key == key) {
		node->value = value;
		return 0;
	}
	node = new_node();
	if (!node)
		return -1;
	node->key = key;
	node->value = value;
	node->height = height(draw() >> 20);
	for (int level = 0; level < LEVELS; level++) {
		node->next[level] = NULL;
		if (level < (int)node->height) {
			node->next[level] = path.before[level]->next[level];
			path.before[level]->next[level] = node;
		}
	}
	length++;
	return 1;
}

__noinline int erase(__u64 key)
{
	struct path path = {};
	node_t *node;

	node = find_path(key, &path);
	if (!node || node->key != key)
		return 0;
	for (int level = 0; level < LEVELS; level++)
		if (path.before[level]->next[level] == node)
			path.before[level]->next[level] = node->next[level];
	node->next[0] = spare;
	spare = node;
	length--;
	return 1;
}

__noinline int find(__u64 key)
{
	struct path path = {};
	node_t *node;

	node = find_path(key, &path);
	return node && node->key == key;
}

SEC("syscall") int iterate(struct contents *ctx)
{
	use_arena(arena);
	for (node_t *node = first.next[0]; node && can_loop; node = node->next[0])
		note(ctx, node->key, node->value);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
