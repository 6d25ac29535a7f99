/* A red-black tree in an arena: a search tree whose paths differ in length by at most a factor 2.
 * Every node is red or black; a red node has black children, and all paths from the root down pass
 * the same number of black nodes. User space walks it through `left` and `right`. */
#include "arena.h"

ARENA(arena, 128);

enum { RED, BLACK };

struct rb_node {
	struct rb_node __arena *left;
	struct rb_node __arena *right;
	struct rb_node __arena *parent;
	__u64 key;
	__u32 color;
};

typedef struct rb_node __arena node_t;

node_t *__arena root;
__u64 __arena nodes;
struct arena_pool __arena pool;

/* Puts `child` where `node` is in the tree. */
static __always_inline void replace(node_t *node, node_t *child)
{
	node_t *parent = node->parent;

	child->parent = parent;
	if (!parent)
		root = child;
	else if (parent->left == node)
		parent->left = child;
	else
		parent->right = child;
	node->parent = child;
}

static __noinline int rotate_left(node_t *node)
{
	node_t *child = node->right;

	if (!child)
		return 0;
	node->right = child->left;
	if (child->left)
		child->left->parent = node;
	replace(node, child);
	child->left = node;
	return 1;
}

static __noinline int rotate_right(node_t *node)
{
	node_t *child = node->left;

	if (!child)
		return 0;
	node->left = child->right;
	if (child->right)
		child->right->parent = node;
	replace(node, child);
	child->right = node;
	return 1;
}

/* Restores the rule of the colors after a red node was put in. */
static __noinline int repair(node_t *node)
{
	while (node->parent && node->parent->color == RED && can_loop) {
		node_t *parent = node->parent, *grand = parent->parent;
		int left = grand->left == parent;
		node_t *uncle = left ? grand->right : grand->left;

		if (uncle && uncle->color == RED) {
			parent->color = BLACK;
			uncle->color = BLACK;
			grand->color = RED;
			node = grand;
			continue;
		}
		if (left && parent->right == node)
			rotate_left(parent), parent = node;
		else if (!left && parent->left == node)
			rotate_right(parent), parent = node;
		parent->color = BLACK;
		grand->color = RED;
		if (left)
			rotate_right(grand);
		else
			rotate_left(grand);
		break;
	}
	root->color = BLACK;
	return 0;
}

/* Returns 1 for a new key, 0 for one that was there, -ENOMEM. */
static __noinline int insert(__u64 key)
{
	node_t *__arena *place = &root;
	node_t *parent = NULL, *node;

	while (*place && can_loop) {
		parent = *place;
		if (parent->key == key)
			return 0;
		place = key < parent->key ? &parent->left : &parent->right;
	}
	node = arena_take(&arena, &pool, sizeof(*node));
	if (!node)
		return -12;
	node->key = key;
	node->parent = parent;
	*place = node;
	nodes++;
	repair(node);
	return 1;
}

/* ctx: count, start. Puts in `count` scattered keys. Returns how many were new. */
SEC("syscall") int grow(__u64 *ctx)
{
	__u64 key = ctx[1];
	int added = 0;

	for (__u64 i = 0; i < ctx[0] && can_loop; i++) {
		key = (key * 1103515245 + 12345) & 0xffff;
		added += insert(key) == 1;
	}
	return added;
}

/* ctx: key in, length of the path to it out (0: not there). */
SEC("syscall") int find(__u64 *ctx)
{
	node_t *node = root;
	__u64 key = ctx[0], length = 0;

	while (node && can_loop) {
		length++;
		if (node->key == key) {
			ctx[0] = length;
			return 1;
		}
		node = key < node->key ? node->left : node->right;
	}
	ctx[0] = 0;
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
