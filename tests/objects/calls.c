/* Every map type and helper that the workbench has, once, for engines to agree on. */
#include "arena.h"
#include "helpers.h"
ARENA(arena, 16);

struct slot {
	long number;
	struct bpf_spin_lock lock;
};
struct prefix {
	__u32 length;
	unsigned char address[4];
};
#define MAP(name_, kind, entries, ...)              \
	struct {                                    \
		__uint(type, BPF_MAP_TYPE_##kind);  \
		__uint(max_entries, entries);       \
		__VA_ARGS__                         \
	} name_ SEC(".maps")
#define TABLE(name, kind) MAP(name, kind, 4, __type(key, int); __type(value, long);)
TABLE(hash, HASH);
TABLE(array, ARRAY);
TABLE(percpu_hash, PERCPU_HASH);
TABLE(percpu_array, PERCPU_ARRAY);
TABLE(lru, LRU_HASH);
MAP(locked, ARRAY, 2, __type(key, int); __type(value, struct slot););
MAP(trie, LPM_TRIE, 4, __uint(map_flags, 1); __type(key, struct prefix); __type(value, long););
MAP(queue, QUEUE, 4, __type(value, long););
MAP(stack, STACK, 4, __type(value, long););
MAP(bloom, BLOOM_FILTER, 8, __type(value, long););
MAP(ring, RINGBUF, 4096, );
MAP(perf, PERF_EVENT_ARRAY, 4, __uint(key_size, 4); __uint(value_size, 4););
struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, int);
	__type(value, long);
} first SEC(".maps"), second SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, int);
	__array(values, struct inner);
} outer SEC(".maps") = {.values = {&first, &second}};
struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, int);
	__array(values, struct inner);
} hashed SEC(".maps") = {.values = {[1] = &second}};

char __arena text[16] = "hello";
long __arena found[24];

static long add(__u32 index, long *sum)
{
	*sum += index;
	return 0;
}

static long each(void *map, int *key, long *value, long *sum)
{
	*sum += *value * *key;
	return 0;
}

static __always_inline long through(void *map, int key, long value)
{
	long *place;

	if (bpf_map_update_elem(map, &key, &value, 0))
		return -1;
	place = bpf_map_lookup_elem(map, &key);
	return place ? *place : -2;
}

SEC("syscall") int tables(void *ctx)
{
	int key = 1, none = 9;
	long sum = 0, *place;
	struct slot *slot = bpf_map_lookup_elem(&locked, &key);
	void *inside;

	found[0] = through(&hash, 1, 5) + through(&hash, 2, 6);
	found[1] = through(&array, 1, 7);
	found[2] = through(&percpu_hash, 3, 8);
	found[3] = through(&percpu_array, 3, 9);
	found[4] = through(&lru, 1, 10);
	if (slot) {
		bpf_spin_lock(&slot->lock);
		slot->number += 11;
		bpf_spin_unlock(&slot->lock);
		found[5] = slot->number;
	}
	inside = bpf_map_lookup_elem(&outer, &key);
	if (inside)
		found[6] = through(inside, 1, 12);
	inside = bpf_map_lookup_elem(&hashed, &key);
	place = inside ? bpf_map_lookup_elem(inside, &key) : NULL;
	found[7] = place ? *place : -3;
	found[8] = bpf_map_delete_elem(&hash, &none);
	bpf_for_each_map_elem(&hash, each, &sum, 0);
	found[9] = sum;
	key = 3;
	place = bpf_map_lookup_percpu_elem(&percpu_array, &key, bpf_get_smp_processor_id());
	found[10] = place ? *place : -4;
	return 0;
}

SEC("syscall") int rings(void *ctx)
{
	long value = 3, *record = bpf_ringbuf_reserve(&ring, 8, 0);

	use_arena(arena);
	if (record) {
		*record = 4;
		bpf_ringbuf_submit(record, 0);
	}
	record = bpf_ringbuf_reserve(&ring, 16, 0);
	if (record)
		bpf_ringbuf_discard(record, 0);
	found[0] = bpf_ringbuf_output(&ring, &value, 8, 0);
	found[1] = bpf_ringbuf_query(&ring, 0);
	return 0;
}

SEC("syscall") int memory(void *ctx)
{
	const void *user = (const void *)(long)(char __arena *)text;
	char room[16] = {};

	found[0] = bpf_probe_read_user(room, 4, user);
	found[1] = bpf_probe_read_kernel(room, 4, room + 8);
	found[2] = bpf_probe_read_user_str(room, 16, user);
	found[3] = bpf_probe_read_kernel_str(room, 4, "abcdef");
	found[4] = *(__u32 *)room;
	found[5] = bpf_copy_from_user(room, 5, (void *)16);
	return 0;
}

SEC("syscall") int regions(void *ctx)
{
	struct bpf_iter_num it;
	unsigned long flags;
	long sum = 0;
	int *number;

	bpf_loop(10, add, &sum, 0);
	found[0] = sum;
	bpf_iter_num_new(&it, 2, 6);
	while ((number = bpf_iter_num_next(&it)))
		found[1] += *number;
	bpf_iter_num_destroy(&it);
	found[2] = bpf_iter_num_new(&it, 6, 2);
	bpf_iter_num_destroy(&it);
	bpf_preempt_disable();
	found[3]++;
	bpf_preempt_enable();
	bpf_rcu_read_lock();
	found[3]++;
	bpf_rcu_read_unlock();
	bpf_local_irq_save(&flags);
	found[3]++;
	bpf_local_irq_restore(&flags);
	found[4] = !bpf_ktime_get_ns() + !(bpf_get_current_pid_tgid() >> 32);
	found[5] = bpf_get_prandom_u32() >> 31 > 1;
	return 0;
}

SEC("syscall") int thrown(void *ctx)
{
	use_arena(arena);
	found[0]++;
	bpf_throw(42);
	return 7;
}

SEC("syscall") int said(long *ctx)
{
	use_arena(arena);
	found[0] = bpf_printk("%d of %x", -5, 255);
	found[1] = bpf_stream_printk(1, "%ld, %lu, %c and %s", ctx[0], 7, 'x', (long)"text");
	return 0;
}

SEC("tc") int filters(void *ctx)
{
	struct prefix wanted = {32, {10, 0, 0, 1}}, known = {8, {10}};
	long value = 5, *place;
	__u32 word = 0x01020304;

	found[0] = bpf_map_update_elem(&trie, &known, &value, 0);
	place = bpf_map_lookup_elem(&trie, &wanted);
	found[1] = place ? *place : -1;
	found[2] = bpf_map_peek_elem(&bloom, &value);
	found[3] = bpf_map_push_elem(&bloom, &value, 0);
	found[4] = bpf_map_peek_elem(&bloom, &value);
	found[5] = bpf_perf_event_output(ctx, &perf, 0, &value, 8);
	bpf_map_push_elem(&queue, &value, 0);
	bpf_map_push_elem(&stack, &value, 0);
	value = 6;
	bpf_map_push_elem(&queue, &value, 0);
	bpf_map_push_elem(&stack, &value, 0);
	found[6] = bpf_map_pop_elem(&queue, &value) + value;
	found[7] = bpf_map_peek_elem(&stack, &value) + value;
	found[8] = bpf_skb_store_bytes(ctx, 20, &word, 4, 0);
	found[9] = bpf_skb_load_bytes(ctx, 18, &word, 4) + word;
	return 3;
}

struct xdp {
	__u32 data, data_end;
};

SEC("xdp") int packet(struct xdp *ctx)
{
	unsigned char *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	use_arena(arena);
	if (data + 24 > end)
		return 1;
	found[0] = bpf_csum_diff(NULL, 0, data, 24, 7);
	data[3] = 9;
	found[1] = bpf_xdp_adjust_tail(ctx, -4);
	found[2] = bpf_xdp_adjust_head(ctx, 4);
	return 2;
}

SEC("socket") int filter(void *ctx)
{
	__u32 word = 0;

	found[0] = bpf_skb_load_bytes(ctx, 3, &word, 4);
	return found[1] = word;
}

SEC("raw_tp/sys_enter") int traced(long *ctx)
{
	return found[0] = ctx[0] + ctx[1];
}
char LICENSE[] SEC("license") = "GPL";
