/* The list and the hash table of arena.h. */
#include "arena.h"
ARENA(arena, 64);

struct user {
	__u64 visits;
	struct arena_entry entry;
	struct arena_link recent;
};
KEEP_TYPE(struct user);
struct arena_pool __arena pool;
struct arena_hash __arena users;
struct arena_list __arena recent;

static __noinline int visit(__u64 key)
{
	struct arena_entry __arena *found = arena_hash_find(&users, key);
	struct user __arena *user;

	if (found) {
		user = arena_container(found, struct user, entry);
		arena_list_remove(&user->recent);
	} else {
		user = arena_take(&arena, &pool, sizeof(*user));
		if (!user)
			return -12;
		arena_hash_insert(&users, &user->entry, key);
	}
	user->visits++;
	arena_list_push(&recent, &user->recent);
	return 0;
}

/* ctx: how many visits, by how many users. Returns how many users came. */
SEC("syscall") int visits(__u64 *ctx)
{
	__u64 seed = 7;

	if (!users.buckets && arena_hash_init(&arena, &users, 6))
		return -12;
	for (__u64 i = 0; i < ctx[0] && can_loop; i++) {
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		if (visit((seed >> 33) % ctx[1]))
			return -12;
	}
	return users.count;
}

/* ctx: the visits of all users out. Forgets the user who was there last. */
SEC("syscall") int forget(__u64 *ctx)
{
	struct user __arena *user;
	__u64 sum = 0;

	use_arena(arena);
	arena_list_for_each(user, &recent, recent)
		sum += user->visits;
	ctx[0] = sum;
	if (recent.first) {
		struct user __arena *last = arena_container(recent.first, struct user, recent);

		arena_list_remove(&last->recent);
		arena_hash_remove(&users, &last->entry);
	}
	return users.count;
}
char LICENSE[] SEC("license") = "GPL";
