/* A spin lock in an arena: one word that programs, and user space with its own atomic
 * instructions, exchange with 1 to take and with 0 to give back. */
#include "arena.h"

ARENA(arena, 8);

struct account {
	__u32 lock;
	__u32 failures; /* attempts that found the lock taken for too long */
	__u64 balance;
	__u64 changes;
};

struct account __arena account = {.balance = 100};

static __noinline int take(struct account __arena *account)
{
	for (__u32 spins = 0; can_loop; spins++) {
		if (!__sync_lock_test_and_set(&account->lock, 1))
			return 1;
		if (spins >= 1000)
			break;
	}
	__sync_fetch_and_add(&account->failures, 1);
	return 0;
}

static __noinline void give_back(struct account __arena *account)
{
	__sync_lock_test_and_set(&account->lock, 0);
}

/* ctx: amount in, new balance out. Returns whether it was paid in. */
SEC("syscall") int pay_in(__u64 *ctx)
{
	if (!take(&account))
		return 0;
	account.balance += ctx[0];
	account.changes += 1;
	ctx[0] = account.balance;
	give_back(&account);
	return 1;
}

/* Takes the lock and keeps it, as a program that forgets. Returns whether it got it. */
SEC("syscall") int hold(void *ctx)
{
	return take(&account);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
