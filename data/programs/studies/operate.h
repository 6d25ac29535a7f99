/* Random operations on a structure that maps keys to values. What includes this has defined
 *
 *     int insert(__u64 key, __u64 value);   1 for a new key, 0 if its value was replaced, -1 without memory
 *     int erase(__u64 key);                 1 if the key was there
 *     int find(__u64 key);                  1 if the key is there
 *
 * and gets the program `operate`; a model in Python does the same (workbench/studies/structures.py).
 * Global functions are verified once, by themselves, and not again on every path that leads to them. */
#ifndef OPERATE_H
#define OPERATE_H
#include "arena.h"

__noinline int insert(__u64 key, __u64 value);
__noinline int erase(__u64 key);
__noinline int find(__u64 key);

__u64 __arena random_state;
__u64 __arena length; /* keys in the structure */

static __always_inline __u64 draw(void)
{
	__u64 x = random_state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	random_state = x;
	return x;
}

/* `count` random operations on keys below `keys`; each draw decides what, and on which key:
 * half of them insert (the value is the draw), a quarter delete, a quarter look up. */
struct operations {
	__u64 count;
	__u64 seed; /* 0: go on where the last run stopped */
	__u64 keys;
	__u64 inserted, deleted, found, refused; /* out */
};

SEC("syscall") int operate(struct operations *ctx)
{
	__u64 keys = ctx->keys ? ctx->keys : 1;

	if (ctx->seed)
		random_state = ctx->seed;
	for (__u64 n = 0; n < ctx->count && can_loop; n++) {
		__u64 number = draw(), key = (number >> 8) % keys;
		int what = number & 3, done;

		if (what < 2) {
			done = insert(key, number);
			ctx->inserted += done == 1;
			ctx->refused += done < 0;
		} else if (what == 2) {
			ctx->deleted += erase(key);
		} else {
			ctx->found += find(key);
		}
	}
	return 0;
}

/* What each structure's program `iterate` finds: a digest that does not depend on the order. */
struct contents {
	__u64 count, keys, values; /* out: how many keys, their sum, the sum of their values */
};

static __always_inline void note(struct contents *found, __u64 key, __u64 value)
{
	found->count++;
	found->keys += key;
	found->values += value;
}

#endif
