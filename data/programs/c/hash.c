/* A hash table with chains in an arena: its buckets are a global variable, its entries are cut
 * from pages that the program allocates. */
#include "arena.h"

ARENA(arena, 128);

#define BUCKETS 256

struct entry {
	struct entry __arena *next;
	__u64 key;
	__u64 value;
};

struct entry __arena *__arena buckets[BUCKETS];
__u32 __arena entries;
struct arena_pool __arena pool;

static __noinline struct entry __arena *find(__u64 key)
{
	__u64 bucket = key * 0x9e3779b97f4a7c15ULL >> 56;
	struct entry __arena *entry = buckets[bucket];

	while (entry && entry->key != key && can_loop)
		entry = entry->next;
	return entry;
}

static __noinline int insert(__u64 key, __u64 value)
{
	__u64 bucket = key * 0x9e3779b97f4a7c15ULL >> 56;
	struct entry __arena *entry = find(key);

	if (entry) {
		entry->value = value;
		return 0;
	}
	entry = arena_take(&arena, &pool, sizeof(*entry));
	if (!entry)
		return -12;
	entry->key = key;
	entry->value = value;
	entry->next = buckets[bucket];
	buckets[bucket] = entry;
	entries++;
	return 1;
}

/* ctx: key, value. Returns 1 for a new entry, 0 for a changed one, -ENOMEM. */
SEC("syscall") int put(__u64 *ctx)
{
	return insert(ctx[0], ctx[1]);
}

/* ctx: key in, value out. Returns whether the key is there. */
SEC("syscall") int get(__u64 *ctx)
{
	struct entry __arena *entry = find(ctx[0]);

	ctx[1] = entry ? entry->value : 0;
	return entry != NULL;
}

/* ctx: count. Puts the keys 0, 3, 6, ... with their squares. Returns how many were new. */
SEC("syscall") int fill(__u64 *ctx)
{
	int added = 0;

	for (__u64 i = 0; i < ctx[0] && can_loop; i++)
		added += insert(3 * i, 9 * i * i) == 1;
	return added;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
