/* Functions that others see, that they do not, and one whose address is taken. */
#include "head.h"
#define TAG(name) __attribute__((btf_decl_tag(name)))
static long (*loop)(__u32 count, void *each, void *ctx, __u64 flags) = (void *)181;
int total;

__noinline int seen(int a, int *b)
{
	return b ? a + *b : a;
}

__hidden __noinline int unseen(int a)
{
	return a * total;
}

__noinline int must(long *p TAG("arg:nonnull"), void *ctx TAG("arg:ctx"))
{
	return *p + (ctx == p);
}

__noinline void nothing(int n)
{
	total += n;
}

static int each(__u32 i, void *ctx)
{
	total += i;
	return 0;
}

static int twice(__u32 i, void *ctx)
{
	total += 2 * i;
	return i > 3;
}

SEC("syscall") int entry(int *ctx)
{
	int b = 4;
	long c = 9;

	loop(5, each, 0, 0);
	loop(9, twice, 0, 0);
	return seen(ctx[0], &b) + unseen(3) + must(&c, ctx);
}

SEC("?syscall") int left_out(int *ctx)
{
	nothing(3);
	return unseen(ctx[0]);
}
char LICENSE[] SEC("license") = "GPL";
