/* Map definitions of all forms, and initial values of maps of maps and of programs. */
#include "head.h"
struct bpf_spin_lock {
	__u32 val;
};
struct value {
	long count;
	struct bpf_spin_lock lock;
};
struct {
	__uint(type, 1);
	__uint(max_entries, 100);
	__uint(map_flags, 1);
	__type(key, int);
	__type(value, struct value);
} counts SEC(".maps");
struct {
	__uint(type, 27);
	__uint(max_entries, 3 * 4096);
} events SEC(".maps");
struct inner {
	__uint(type, 2);
	__uint(max_entries, 5);
	__uint(key_size, 4);
	__uint(value_size, 8);
} first SEC(".maps"), second SEC(".maps");
struct {
	__uint(type, 12);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct inner);
} outer SEC(".maps") = {.values = {[1] = &second, [2] = &first}};
int leaf(void *ctx);
struct {
	__uint(type, 3);
	__uint(max_entries, 3);
	__uint(key_size, 4);
	__uint(value_size, 4);
	__array(values, int(void *));
} jumps SEC(".maps") = {.values = {[1] = (void *)&leaf}};
static void *(*lookup)(void *map, const void *key) = (void *)1;
static long (*tail_call)(void *ctx, void *map, __u32 index) = (void *)12;

SEC("tc") int leaf(void *ctx)
{
	return 5;
}

SEC("tc") int look(void *ctx)
{
	int key = 1;
	void *inside = lookup(&outer, &key);
	struct value *value = lookup(&counts, &key);

	if (inside && lookup(inside, &key))
		key = 2;
	tail_call(ctx, &jumps, 1);
	return value ? value->count : key;
}
char LICENSE[] SEC("license") = "GPL";
