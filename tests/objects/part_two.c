/* The other: a definition that gives way, one that does not, and a variable of the same name. */
#include "arena.h"
extern long __arena shared;
static volatile long __arena own = 2;
long __arena weak_value = 20;
__attribute__((weak, noinline)) long both(long a)
{
	return a - 1;
}

__noinline long other(long a)
{
	return 1000 + a + shared - 4;
}

SEC("syscall") int second(long *ctx)
{
	return both(own) + 1980;
}
char LICENSE[] SEC("license") = "GPL";
