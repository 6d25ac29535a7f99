/* A key-value store whose table user space keeps in an arena, and which XDP answers from.
 *
 * User space inserts, updates, deletes and resizes, as a cache server would; this program answers
 * `get` requests before they reach the network stack: it parses the packet, looks the key up and
 * turns the request into its reply (XDP_TX). Everything else passes untouched (XDP_PASS): other
 * packets, short and fragmented ones, unknown keys, and entries that user space is just writing.
 *
 * The request is memcached's, over UDP: 8 bytes of frame header, 24 bytes of binary header (GET is
 * opcode 0), the key. It is padded to 100 bytes, so that the reply fits into the same packet:
 *
 *     frame 8 | magic opcode keylen extras type status bodylen opaque cas | flags 4 | value <= 64
 *
 * The table is an array of entries, a power of two of them, probed one after the other. Each entry
 * has a sequence number, odd while user space writes: a reader copies, looks again, and starts over
 * when the number has changed. Pointer and size of the table have one too. */
#include "arena.h"

ARENA(arena, 4096);

#define KEY_WORDS 4
#define KEY_BYTES 32
#define VALUE_WORDS 8
#define PROBES 32
#define TRIES 4
#define EMPTY 0   /* states of an entry */
#define DELETED 1 /* a hole that searches go on behind */
#define USED 2

struct kv_entry {
	__u32 sequence;
	__u16 state;
	__u16 value_bytes;
	__u32 flags; /* memcached's, handed back with the value */
	__u32 touched; /* set by readers, cleared by the clock that evicts */
	__u64 key[KEY_WORDS]; /* padded with zeros */
	__u64 value[VALUE_WORDS];
};
_Static_assert(sizeof(struct kv_entry) == 112, "user space relies on it");

struct kv_table {
	__u64 sequence;
	struct kv_entry __arena *entries;
	__u64 mask; /* entries - 1 */
	__u64 seed;
};

struct kv_table __arena table;
__u64 __arena hits;
__u64 __arena misses;
__u64 __arena busy; /* lookups given up because user space was writing */

struct kv_answer {
	__u64 value[VALUE_WORDS];
	__u32 bytes;
	__u32 flags;
};

static __always_inline __u64 hash_key(const __u64 *key, __u64 seed)
{
	__u64 hash = seed;

#pragma unroll
	for (int n = 0; n < KEY_WORDS; n++) {
		hash = (hash ^ key[n]) * 0x9e3779b97f4a7c15ULL;
		hash ^= hash >> 32;
	}
	return hash;
}

static __always_inline int same_key(const struct kv_entry __arena *entry, const __u64 *key)
{
	return entry->key[0] == key[0] && entry->key[1] == key[1] && entry->key[2] == key[2] &&
	       entry->key[3] == key[3];
}

/* Keeps the compiler from moving loads and stores across this point. x86 keeps the order of loads
 * itself; on a machine that does not, the sequence numbers need loads with acquire (mcpu=v4). */
#define ordered() asm volatile("" : : : "memory")

static __always_inline void copy_value(struct kv_entry __arena *entry, struct kv_answer *answer)
{
	answer->bytes = entry->value_bytes;
	answer->flags = entry->flags;
#pragma unroll
	for (int n = 0; n < VALUE_WORDS; n++)
		answer->value[n] = *(volatile __u64 __arena *)&entry->value[n];
}

/* Copies an entry's value: 1 if it is whole and the key's, 0 if user space was writing. The key is
 * looked at again in between: user space may have given the entry to another one. */
static __always_inline int read_entry(struct kv_entry __arena *entry, const __u64 *key,
				      struct kv_answer *answer)
{
	__u32 before = *(volatile __u32 __arena *)&entry->sequence;

	if (before & 1)
		return 0;
	ordered();
	if (entry->state != USED || !same_key(entry, key))
		return 0;
	copy_value(entry, answer);
	ordered();
	return *(volatile __u32 __arena *)&entry->sequence == before;
}

/* Finds a key: its entry, or NULL. */
static __always_inline struct kv_entry __arena *find(const __u64 *key)
{
	struct kv_entry __arena *entries = table.entries;
	__u64 mask = table.mask, at;

	if (!entries)
		return NULL;
	at = hash_key(key, table.seed);
	for (int n = 0; n < PROBES && can_loop; n++) {
		struct kv_entry __arena *entry = entries + ((at + n) & mask);

		if (entry->state == EMPTY)
			return NULL;
		if (entry->state == USED && same_key(entry, key))
			return entry;
	}
	return NULL;
}

struct kv_key {
	__u64 words[KEY_WORDS];
};

/* 1 found, 0 not there, -1 user space was writing all the time. A global function: Linux verifies it
 * once, by itself, and not again on every path that leads to it. */
__noinline int lookup(const struct kv_key *wanted, struct kv_answer *answer)
{
	__u64 key[KEY_WORDS];

	if (!wanted || !answer)
		return 0;
	__builtin_memcpy(key, wanted->words, sizeof(key));
	for (int n = 0; n < TRIES && can_loop; n++) {
		__u64 before = *(volatile __u64 __arena *)&table.sequence;
		struct kv_entry __arena *entry;

		if (before & 1)
			continue;
		ordered();
		entry = find(key);
		if (entry && !read_entry(entry, key, answer))
			continue;
		ordered();
		if (*(volatile __u64 __arena *)&table.sequence != before)
			continue;
		if (entry)
			entry->touched = 1;
		return entry != NULL;
	}
	return -1;
}

/* Packets. */
struct ethernet {
	__u16 to[3], from[3];
	__u16 type;
};

struct ipv4 {
	__u8 version, service;
	__u16 length, id, fragment;
	__u8 hops, protocol;
	__u16 sum;
	__u32 from, to;
};

struct ipv6 {
	__u32 version;
	__u16 length;
	__u8 next, hops;
	__u32 from[4], to[4];
};

struct udp {
	__u16 from, to, length, sum;
};

struct memcached {
	__u8 frame[8];
	__u8 magic, opcode;
	__u16 key_bytes;
	__u8 extra_bytes, type;
	__u16 status;
	__u32 body_bytes;
	__u32 opaque;
	__u32 cas[2];
	__u8 body[68];
};

struct xdp_md {
	__u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex;
};

enum { XDP_PASS = 2, XDP_TX = 3 };
#define PORT 11211
#define swap16(x) __builtin_bswap16(x)
#define swap32(x) __builtin_bswap32(x)

#define exchange(a, b, count)                   \
	for (int n = 0; n < (count); n++) {     \
		typeof((a)[0]) kept = (a)[n];   \
		(a)[n] = (b)[n];                \
		(b)[n] = kept;                  \
	}

/* The sum of 16-bit words, as UDP wants it. It comes out right, byte order and all, without turning
 * the bytes around (RFC 1071). */
static __always_inline __u32 add_words(__u32 sum, const void *start, int words)
{
	const __u16 *word = start;

	for (int n = 0; n < words; n++)
		sum += word[n];
	return sum;
}

static __always_inline __u16 folded(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = ~sum & 0xffff;
	return sum ? sum : 0xffff;
}

/* Whether this is a request to be answered. */
static __always_inline int is_get(const struct udp *udp, const struct memcached *request)
{
	__u16 key = swap16(request->key_bytes);

	return udp->to == swap16(PORT) && udp->length == swap16(sizeof(*udp) + sizeof(*request)) &&
	       request->magic == 0x80 && request->opcode == 0 && !request->extra_bytes &&
	       !request->type && key >= 1 && key <= KEY_BYTES &&
	       request->body_bytes == swap32(key) && request->frame[4] == 0 &&
	       request->frame[5] == 1;
}

static __always_inline void take_key(const struct memcached *request, __u64 *words)
{
	__u8 *key = (__u8 *)words;
	int bytes = swap16(request->key_bytes);

	/* Without a branch, which the verifier would follow both ways 32 times: the sign of n - bytes
	 * is a mask. */
#pragma unroll
	for (int n = 0; n < KEY_BYTES; n++)
		key[n] = request->body[n] & (n - bytes) >> 31;
}

/* Looks up and turns the request into the reply; 0 if there is none. */
static __noinline int answer_request(struct memcached *packet)
{
	struct kv_answer answer = {};
	struct kv_key key = {};
	__u32 flags;
	int found;

	if (!packet)
		return 0;
	take_key(packet, key.words);
	found = lookup(&key, &answer);
	if (found <= 0 || answer.bytes > sizeof(answer.value)) {
		__sync_fetch_and_add(found < 0 ? &busy : &misses, 1);
		return 0;
	}
	__sync_fetch_and_add(&hits, 1);
	packet->magic = 0x81;
	packet->key_bytes = 0;
	packet->extra_bytes = 4;
	packet->status = 0;
	packet->body_bytes = swap32(4 + answer.bytes);
	packet->cas[0] = packet->cas[1] = 0;
	flags = swap32(answer.flags);
	*(__u32 *)packet->body = flags;
	for (int n = 0; n < 2 * VALUE_WORDS; n++)
		((__u32 *)(packet->body + 4))[n] = ((__u32 *)answer.value)[n];
	return 1;
}

static __always_inline int reply(struct udp *udp, __u32 sum)
{
	__u16 port = udp->from;

	udp->from = udp->to;
	udp->to = port;
	udp->sum = 0;
	sum += swap16(17) + udp->length;
	sum = add_words(sum, udp, (sizeof(*udp) + sizeof(struct memcached)) / 2);
	udp->sum = folded(sum);
	return XDP_TX;
}

SEC("xdp") int serve(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethernet *ethernet = data;
	struct udp *udp;

	if (data + sizeof(*ethernet) > end)
		return XDP_PASS;
	if (ethernet->type == swap16(0x0800)) {
		struct ipv4 *ip = data + sizeof(*ethernet);

		udp = (void *)(ip + 1);
		if ((void *)(udp + 1) + sizeof(struct memcached) > end)
			return XDP_PASS;
		if (ip->version != 0x45 || ip->protocol != 17 || ip->fragment & swap16(0x3fff) ||
		    ip->length != swap16(sizeof(*ip) + sizeof(*udp) + sizeof(struct memcached)))
			return XDP_PASS;
		if (!is_get(udp, (void *)(udp + 1)) || !answer_request((void *)(udp + 1)))
			return XDP_PASS;
		exchange(&ip->from, &ip->to, 1);
		exchange(ethernet->from, ethernet->to, 3);
		return reply(udp, add_words(0, &ip->from, 4));
	}
	if (ethernet->type == swap16(0x86dd)) {
		struct ipv6 *ip = data + sizeof(*ethernet);

		udp = (void *)(ip + 1);
		if ((void *)(udp + 1) + sizeof(struct memcached) > end)
			return XDP_PASS;
		if ((ip->version & swap32(0xf0000000)) != swap32(0x60000000) || ip->next != 17 ||
		    ip->length != swap16(sizeof(*udp) + sizeof(struct memcached)))
			return XDP_PASS;
		if (!is_get(udp, (void *)(udp + 1)) || !answer_request((void *)(udp + 1)))
			return XDP_PASS;
		exchange(ip->from, ip->to, 4);
		exchange(ethernet->from, ethernet->to, 3);
		return reply(udp, add_words(0, ip->from, 16));
	}
	return XDP_PASS;
}

/* The same lookup for a schedule: ctx is a key of 32 bytes, then the answer, which is also left in
 * the arena, where user space looks at it. */
__u64 __arena seen[VALUE_WORDS];

struct get {
	__u64 key[KEY_WORDS];
	__u64 value[VALUE_WORDS];
	__u64 found;
};

SEC("syscall") int get(struct get *ctx)
{
	struct kv_answer answer = {};
	struct kv_key key;
	int found;

	__builtin_memcpy(&key, ctx->key, sizeof(key));
	ctx->found = found = lookup(&key, &answer);
	/* An answer that was not found may hold what a try copied before it was given up. */
	for (int n = 0; n < VALUE_WORDS; n++)
		seen[n] = ctx->value[n] = found > 0 ? answer.value[n] : 0;
	return found;
}

/* What not to do: the value is copied without a look at the sequence number. */
SEC("syscall") int get_naive(struct get *ctx)
{
	struct kv_entry __arena *entry;
	__u64 key[KEY_WORDS];

	__builtin_memcpy(key, ctx->key, sizeof(key));
	entry = find(key);
	ctx->found = entry != NULL;
	for (int n = 0; entry && n < VALUE_WORDS; n++)
		seen[n] = ctx->value[n] = *(volatile __u64 __arena *)&entry->value[n];
	return ctx->found;
}

/* What user space does to change a value, as a program: for schedules, in which all are programs. */
SEC("syscall") int set(struct get *ctx)
{
	struct kv_entry __arena *entry;
	__u64 key[KEY_WORDS];

	__builtin_memcpy(key, ctx->key, sizeof(key));
	entry = find(key);
	if (!entry)
		return 0;
	*(volatile __u32 __arena *)&entry->sequence = entry->sequence + 1;
	ordered();
	for (int n = 0; n < VALUE_WORDS; n++)
		*(volatile __u64 __arena *)&entry->value[n] = ctx->value[n];
	ordered();
	*(volatile __u32 __arena *)&entry->sequence = entry->sequence + 1;
	return 1;
}

/* User space deletes a key, gives its entry to another, and takes it back for the first: two changes
 * more, between which a reader must not take the other's value for the key's. */
static __always_inline void change(struct kv_entry __arena *entry, __u64 first_key_word, __u64 value)
{
	*(volatile __u32 __arena *)&entry->sequence = entry->sequence + 1;
	ordered();
	*(volatile __u64 __arena *)&entry->key[0] = first_key_word;
	for (int n = 0; n < VALUE_WORDS; n++)
		*(volatile __u64 __arena *)&entry->value[n] = value;
	ordered();
	*(volatile __u32 __arena *)&entry->sequence = entry->sequence + 1;
}

SEC("syscall") int lend(struct get *ctx)
{
	struct kv_entry __arena *entry;
	__u64 key[KEY_WORDS];

	__builtin_memcpy(key, ctx->key, sizeof(key));
	entry = find(key);
	if (!entry)
		return 0;
	change(entry, ~key[0], ctx->value[0]);
	change(entry, key[0], ctx->value[1]);
	return 1;
}

/* Many lookups in a row, for measurements: of the keys that user space left at `wanted`. `torn` counts
 * values whose first and last words differ, which none has that was stored. */
struct kv_key __arena *__arena wanted;

struct many {
	__u64 count;
	__u64 hits, misses, busy, torn; /* out */
};

static __always_inline void count_answer(struct many *ctx, int found, struct kv_answer *answer)
{
	ctx->hits += found > 0;
	ctx->misses += found == 0;
	ctx->busy += found < 0;
	ctx->torn += found > 0 && answer->value[0] != answer->value[VALUE_WORDS - 1];
}

static __always_inline void take_wanted(struct kv_key *key, __u64 n)
{
	for (int word = 0; word < KEY_WORDS; word++)
		key->words[word] = wanted[n].words[word];
}

SEC("syscall") int get_many(struct many *ctx)
{
	struct kv_answer answer = {};
	struct kv_key key;

	for (__u64 n = 0; n < ctx->count && can_loop; n++) {
		take_wanted(&key, n);
		count_answer(ctx, lookup(&key, &answer), &answer);
	}
	return 0;
}

SEC("syscall") int get_many_naive(struct many *ctx)
{
	struct kv_answer answer = {};
	struct kv_key key;

	for (__u64 n = 0; n < ctx->count && can_loop; n++) {
		struct kv_entry __arena *entry;

		take_wanted(&key, n);
		entry = find(key.words);
		if (entry)
			copy_value(entry, &answer);
		count_answer(ctx, entry != NULL, &answer);
	}
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
