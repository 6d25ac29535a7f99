/* Atomic operations on arena memory: what programs and user space can both count and lock with. */
#include "arena.h"

ARENA(arena, 16);

__u64 __arena counter;
__u32 __arena narrow = 5;
__u64 __arena mask = 0xff00;
__u64 __arena highest;
__u32 __arena lock_word;
__u64 __arena guarded;

/* ctx: added, exchanged, swapped out. Returns what the narrow counter held before. */
SEC("syscall") int update(__u64 *ctx)
{
	ctx[0] = __sync_fetch_and_add(&counter, 40) + 2;
	ctx[1] = __sync_lock_test_and_set(&highest, 77);
	ctx[2] = __sync_val_compare_and_swap(&highest, 77, 78);
	/* x86 can fetch and add, but not fetch and or; relaxed and unused, nothing is fetched. */
	__atomic_fetch_or(&mask, 0x0f, __ATOMIC_RELAXED);
	__atomic_fetch_and(&mask, 0xf00f, __ATOMIC_RELAXED);
	__atomic_fetch_xor(&mask, 0x1001, __ATOMIC_RELAXED);
	return __sync_fetch_and_add(&narrow, 1);
}

/* ctx: a number. Raises `highest` to it by compare and swap. Returns the number of attempts. */
SEC("syscall") int raise(__u64 *ctx)
{
	__u64 wanted = ctx[0];
	int attempts = 0;

	while (can_loop) {
		__u64 seen = highest;

		attempts++;
		if (seen >= wanted || __sync_bool_compare_and_swap(&highest, seen, wanted))
			break;
	}
	return attempts;
}

/* Takes a lock word in the arena, changes what it guards, gives the lock back. Returns 1, or 0
 * when somebody else holds the lock. */
SEC("syscall") int locked(void *ctx)
{
	if (__sync_lock_test_and_set(&lock_word, 1))
		return 0;
	guarded = guarded * 3 + 1;
	__sync_lock_test_and_set(&lock_word, 0);
	return 1;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
