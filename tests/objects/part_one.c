/* One of two objects that are linked: it uses what the other defines. */
#include "arena.h"
ARENA(arena, 4);
long __arena shared = 5;
static volatile long __arena own = 1;
__attribute__((weak)) long __arena weak_value = 10;
long other(long a);
__attribute__((weak, noinline)) long both(long a)
{
	return a + weak_value;
}

SEC("syscall") int first(long *ctx)
{
	return other(ctx[0] + own) + both(0) - 20 + shared;
}
char LICENSE[] SEC("license") = "GPL";
