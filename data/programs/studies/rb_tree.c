/* A red-black tree in an arena: a red node has black children, and every path from the root down
 * passes the same number of black nodes, so no path is twice as long as another.
 *
 * Left and right are child[0] and child[1]: what is written once for a side holds for both. */
#include "operate.h"

ARENA(arena, 1024);

enum { BLACK, RED };

struct node {
	struct node __arena *child[2];
	struct node __arena *parent;
	__u64 key;
	__u64 value;
	__u64 color;
};

typedef struct node __arena node_t;

node_t *__arena root;
node_t *__arena spare;
struct arena_pool __arena pool;

static __always_inline int is_red(node_t *node)
{
	return node && node->color == RED;
}

static __always_inline int side_of(node_t *node, node_t *parent)
{
	return parent->child[1] == node;
}

/* Puts `child`, which may be NULL, where `node` is. */
static __always_inline void replace(node_t *node, node_t *child)
{
	node_t *parent = node->parent;

	if (child)
		child->parent = parent;
	if (!parent)
		root = child;
	else
		parent->child[side_of(node, parent)] = child;
}

/* Moves a node down to `side`; its child on the other side takes its place. */
static __noinline int rotate(node_t *node, int side)
{
	node_t *up = node->child[!side], *inner = up->child[!!side];

	replace(node, up);
	node->child[!side] = inner;
	if (inner)
		inner->parent = node;
	up->child[!!side] = node;
	node->parent = up;
	return 0;
}

/* After a red node was put in. */
static __noinline int repair_insert(node_t *node)
{
	while (is_red(node->parent) && can_loop) {
		node_t *parent = node->parent, *grand = parent->parent;
		int side = side_of(parent, grand);
		node_t *uncle = grand->child[!side];

		if (is_red(uncle)) {
			parent->color = uncle->color = BLACK;
			grand->color = RED;
			node = grand;
			continue;
		}
		if (side_of(node, parent) != side) {
			rotate(parent, side);
			parent = node;
		}
		parent->color = BLACK;
		grand->color = RED;
		rotate(grand, !side);
		break;
	}
	root->color = BLACK;
	return 0;
}

/* After a black node was taken out on one side of `parent`: the paths there lack one. */
static __noinline int repair_erase(node_t *parent, int side)
{
	while (parent && can_loop) {
		node_t *sibling = parent->child[!side], *node = parent;

		if (is_red(sibling)) {
			sibling->color = BLACK;
			parent->color = RED;
			rotate(parent, side);
			sibling = parent->child[!side];
		}
		if (!is_red(sibling->child[0]) && !is_red(sibling->child[1])) {
			sibling->color = RED;
			if (is_red(parent)) {
				parent->color = BLACK;
				break;
			}
			parent = node->parent;
			if (parent)
				side = side_of(node, parent);
			continue;
		}
		if (!is_red(sibling->child[!side])) {
			sibling->child[!!side]->color = BLACK;
			sibling->color = RED;
			rotate(sibling, !side);
			sibling = parent->child[!side];
		}
		sibling->color = parent->color;
		parent->color = BLACK;
		sibling->child[!side]->color = BLACK;
		rotate(parent, side);
		break;
	}
	return 0;
}

static __noinline node_t *search(__u64 key)
{
	node_t *node = root;

	while (node && node->key != key && can_loop)
		node = node->child[key > node->key];
	return node;
}

static __noinline node_t *new_node(void)
{
	node_t *node = spare;

	if (!node)
		return arena_take(&arena, &pool, sizeof(*node));
	spare = node->parent;
	return node;
}

__noinline int insert(__u64 key, __u64 value)
{
	node_t *parent = NULL, *node = root;

	while (node && can_loop) {
		if (node->key == key) {
			node->value = value;
			return 0;
		}
		parent = node;
		node = node->child[key > node->key];
	}
	node = new_node();
	if (!node)
		return -1;
	node->child[0] = node->child[1] = NULL;
	node->parent = parent;
	node->key = key;
	node->value = value;
	node->color = RED;
	if (parent)
		parent->child[key > parent->key] = node;
	else
		root = node;
	repair_insert(node);
	length++;
	return 1;
}

/* The node with the next key takes the place of one that has two children. */
static __always_inline node_t *without_two_children(node_t *node)
{
	node_t *next = node->child[1];

	if (!node->child[0] || !next)
		return node;
	while (next->child[0] && can_loop)
		next = next->child[0];
	node->key = next->key;
	node->value = next->value;
	return next;
}

__noinline int erase(__u64 key)
{
	node_t *node = search(key), *child, *parent;
	int side;

	use_arena(arena);
	if (!node)
		return 0;
	node = without_two_children(node);
	child = node->child[0] ? node->child[0] : node->child[1];
	parent = node->parent;
	side = parent ? side_of(node, parent) : 0;
	replace(node, child);
	if (child)
		child->color = BLACK; /* an only child is red, and its parent black */
	else if (node->color == BLACK)
		repair_erase(parent, side);
	node->parent = spare;
	spare = node;
	length--;
	return 1;
}

__noinline int find(__u64 key)
{
	use_arena(arena);
	return search(key) != NULL;
}

/* In order, up and down along the pointers, without a stack. */
SEC("syscall") int iterate(struct contents *ctx)
{
	node_t *node = root, *from = NULL;

	use_arena(arena);
	while (node && can_loop) {
		node_t *at = node;

		if (from == at->parent && at->child[0]) {
			node = at->child[0];
		} else if (from != at->child[1] || !from) {
			note(ctx, at->key, at->value);
			node = at->child[1] ? at->child[1] : at->parent;
		} else {
			node = at->parent;
		}
		from = at;
	}
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
