/* A hash table in an arena, made of arena.h's parts: items that have an arena_entry as a member, in the
 * chains of 256 buckets. Deleted items wait in a list and are used again. */
#include "operate.h"

ARENA(arena, 1024);

#define BITS 8

struct item {
	struct arena_entry entry;
	__u64 value;
};

KEEP_TYPE(struct item);

struct arena_hash __arena table;
struct arena_list __arena spare;
struct arena_pool __arena pool;

static __always_inline struct item __arena *new_item(void)
{
	struct arena_link __arena *link = spare.first;

	if (!link)
		return arena_take(&arena, &pool, sizeof(struct item));
	arena_list_remove(link);
	return arena_container(link, struct item, entry.link);
}

__noinline int insert(__u64 key, __u64 value)
{
	struct arena_entry __arena *entry;
	struct item __arena *item;

	if (!table.buckets && arena_hash_init(&arena, &table, BITS))
		return -1;
	entry = arena_hash_find(&table, key);
	if (entry) {
		arena_container(entry, struct item, entry)->value = value;
		return 0;
	}
	item = new_item();
	if (!item)
		return -1;
	item->value = value;
	arena_hash_insert(&table, &item->entry, key);
	length++;
	return 1;
}

__noinline int erase(__u64 key)
{
	struct arena_entry __arena *entry = table.buckets ? arena_hash_find(&table, key) : NULL;

	use_arena(arena);
	if (!entry)
		return 0;
	arena_hash_remove(&table, entry);
	arena_list_push(&spare, &entry->link);
	length--;
	return 1;
}

__noinline int find(__u64 key)
{
	use_arena(arena);
	return table.buckets && arena_hash_find(&table, key);
}

SEC("syscall") int iterate(struct contents *ctx)
{
	struct arena_entry __arena *entry;

	use_arena(arena);
	for (int n = 0; table.buckets && n < 1 << BITS && can_loop; n++)
		arena_list_for_each(entry, &table.buckets[n], link)
			note(ctx, entry->key, arena_container(entry, struct item, entry)->value);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
