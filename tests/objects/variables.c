/* Global variables in every section that holds them. */
#include "head.h"
struct point {
	int x, y;
	unsigned flags : 4;
};
int counter = 3;
SEC(".data.other") int apart = 9;
const volatile int limit = -4;
int table[4] = {1, 2, 3, 4};
char greeting[8] = "hello";
struct point origin = {7, -8, 5};
static int hidden;
long zeros[3];

SEC("syscall") int count(unsigned *ctx)
{
	static int calls;
	int n = ctx[0] & 3;

	calls++;
	counter += limit + apart;
	hidden += origin.x;
	zeros[1] += table[n];
	return calls + greeting[n] + hidden;
}

SEC("tc") int classify(void *ctx)
{
	return ++counter;
}
char LICENSE[] SEC("license") = "GPL";
