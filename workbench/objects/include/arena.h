/* SPDX-License-Identifier: MIT */
/* What a BPF program in C needs to use an arena: types, map macros, casts, kfuncs, bounded loops.
 *
 *     #include "arena.h"
 *
 *     ARENA(arena, 64);                        // a map of 64 pages, called arena
 *     struct node { struct node __arena *next; long value; };
 *     struct node __arena *__arena head;       // a global variable that lives in the arena
 *
 *     SEC("syscall") int sum(void *ctx)
 *     {
 *         long total = 0;
 *         for (struct node __arena *n = head; n && can_loop; n = n->next)
 *             total += n->value;
 *         return total;
 *     }
 *
 *     char LICENSE[] SEC("license") = "GPL";
 *
 * Compile with clang 19 or newer: clang -target bpfel -mcpu=v3 -O2 -g -c. Its object loads in the
 * workbench and with libbpf 1.4 or newer alike. */
#ifndef WORKBENCH_ARENA_H
#define WORKBENCH_ARENA_H

#ifndef __BPF_FEATURE_ADDR_SPACE_CAST
#error "this compiler cannot make arena pointers; use clang 19 or newer with -target bpfel -mcpu=v3"
#endif

#ifndef __VMLINUX_H__
typedef signed char __s8;
typedef unsigned char __u8;
typedef short __s16;
typedef unsigned short __u16;
typedef int __s32;
typedef unsigned int __u32;
typedef long long __s64;
typedef unsigned long long __u64;
#endif

#ifndef NULL
#define NULL ((void *)0)
#endif

#ifndef SEC
#define SEC(name) __attribute__((section(name), used))
#endif
#ifndef __noinline
#define __noinline __attribute__((noinline))
#endif
#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

/* What a function that Linux verifies on its own is given: say it of its parameters. The workbench
 * finds __arg_arena by itself; libbpf wants to be told. */
#ifndef __arg_arena
#define __arg_arena __attribute__((btf_decl_tag("arg:arena")))
#endif
#ifndef __arg_ctx
#define __arg_ctx __attribute__((btf_decl_tag("arg:ctx")))
#define __arg_nonnull __attribute__((btf_decl_tag("arg:nonnull")))
#define __arg_nullable __attribute__((btf_decl_tag("arg:nullable")))
#endif

/* A map's members, encoded in types, from which BTF carries them to the loader. */
#ifndef __uint
#define __uint(name, value) int (*name)[value]
#define __type(name, value) typeof(value) *name
#define __array(name, value) typeof(value) *name[]
#define __arena_join(a, b) a##b
#define __arena_unique(a, b) __arena_join(a, b)
#define __ulong(name, value) \
	enum { __arena_unique(__unique_value_, __COUNTER__) = value } name
#endif

#ifndef __VMLINUX_H__
enum { BPF_MAP_TYPE_ARENA = 33 };
enum { BPF_F_MMAPABLE = 1 << 10, BPF_F_SEGV_ON_FAULT = 1 << 17, BPF_F_NO_USER_CONV = 1 << 18 };
#endif

#define ARENA_WITH_FLAGS(name, pages, flags)            \
	struct {                                        \
		__uint(type, BPF_MAP_TYPE_ARENA);       \
		__uint(map_flags, BPF_F_MMAPABLE | (flags)); \
		__uint(max_entries, pages);             \
	} name SEC(".maps")
#define ARENA(name, pages) ARENA_WITH_FLAGS(name, pages, 0)

/* Linux ties a program to an arena when the program names it. Say this in a program that reaches
 * the arena only through pointers that it is given. */
#define use_arena(name) asm volatile("" : : "r"(&(name)))

/* Address space 1 is the arena as user space sees it: 64-bit user addresses, which is what
 * pointers in arena memory hold. The compiler casts where such a pointer is dereferenced. */
#define __arena __attribute__((address_space(1)))
#define cast_kern(pointer) ((typeof(*(pointer)) *)(pointer))
#define cast_user(pointer) ((typeof(*(pointer)) __arena *)(pointer))

/* A type that only members point to is left out of the object's type information. Say this of one
 * that user space is to decode: KEEP_TYPE(struct user); */
#define KEEP_TYPE(type) type *__arena_unique(__kept_type_, __COUNTER__) SEC(".kept_types")

#define PAGE_SIZE 4096
#define NUMA_NO_NODE (-1)

void __arena *bpf_arena_alloc_pages(void *map, void __arena *address, __u32 count, int node,
				    __u64 flags) __attribute__((weak, section(".ksyms")));
void bpf_arena_free_pages(void *map, void __arena *address, __u32 count)
	__attribute__((weak, section(".ksyms")));
int bpf_arena_reserve_pages(void *map, void __arena *address, __u32 count)
	__attribute__((weak, section(".ksyms")));

/* True until Linux's budget of iterations (8 million) is used up. A loop whose condition contains
 * it needs no other bound. */
#define can_loop                                                   \
	({                                                         \
		__label__ stop, go_on;                             \
		_Bool more = 1;                                    \
		asm volatile goto("may_goto %l[stop]" : : : : stop); \
		goto go_on;                                        \
	stop:                                                      \
		more = 0;                                          \
	go_on:;                                                    \
		more;                                              \
	})
#define cond_break        \
	if (!(can_loop))  \
	break

/* A page-fragment allocator: pieces of up to a page are cut from pages one by one, 8-byte aligned,
 * and never given back. An arena variable that is all zero is an empty pool. */
struct arena_pool {
	char __arena *next; /* first byte not yet handed out */
	__u64 left;         /* bytes from there to the end of its page */
};

static __always_inline void __arena *arena_take(void *map, struct arena_pool __arena *pool,
						__u32 size)
{
	char __arena *piece;

	size = (size + 7) & ~7U;
	if (pool->left < size) {
		piece = bpf_arena_alloc_pages(map, NULL, 1, NUMA_NO_NODE, 0);
		if (!piece)
			return NULL;
		pool->next = piece;
		pool->left = PAGE_SIZE;
	}
	piece = pool->next;
	pool->next = piece + size;
	pool->left -= size;
	return piece;
}

/* The structure of a type that a member of it lies in. */
#define arena_container(pointer, type, member) \
	((type __arena *)((char __arena *)(pointer) - __builtin_offsetof(type, member)))

/* A list: structures that have a link as a member. All zero is an empty one. A link knows the place
 * that points to it, so that it can be taken out without looking for it.
 *
 *     struct task { __u64 id; struct arena_link link; };
 *     struct arena_list __arena tasks;
 *
 *     arena_list_push(&tasks, &task->link);
 *     struct task __arena *task;
 *     arena_list_for_each(task, &tasks, link)
 *         sum += task->id;
 *     arena_list_remove(&task->link); */
struct arena_link {
	struct arena_link __arena *next;
	struct arena_link __arena *__arena *place;
};

struct arena_list {
	struct arena_link __arena *first;
};

static __always_inline void arena_list_push(struct arena_list __arena *list,
					    struct arena_link __arena *link)
{
	struct arena_link __arena *next = list->first;

	link->next = next;
	link->place = &list->first;
	if (next)
		next->place = &link->next;
	list->first = link;
}

static __always_inline void arena_list_remove(struct arena_link __arena *link)
{
	struct arena_link __arena *next = link->next;

	*link->place = next;
	if (next)
		next->place = link->place;
	link->next = NULL;
	link->place = NULL;
}

/* `entry` is a pointer declared before; what it points to must not leave the list in the loop. */
#define arena_list_for_each(entry, list, member)                                              \
	for (struct arena_link __arena *link_ = (list)->first;                                \
	     link_ && can_loop &&                                                             \
	     ((entry) = (typeof(entry))((char __arena *)link_ -                               \
					__builtin_offsetof(typeof(*(entry)), member)),        \
	     1);                                                                              \
	     link_ = link_->next)

/* A hash table: structures that have an arena_entry as a member, found by a 64-bit key. Its 1 << bits
 * buckets are pages of the arena.
 *
 *     struct user { struct arena_entry entry; __u64 visits; };
 *     struct arena_hash __arena users;
 *
 *     arena_hash_init(&arena, &users, 9);
 *     arena_hash_insert(&users, &user->entry, 1000);
 *     struct arena_entry __arena *found = arena_hash_find(&users, 1000);
 *     if (found)
 *         arena_container(found, struct user, entry)->visits++; */
struct arena_entry {
	struct arena_link link;
	__u64 key;
};

struct arena_hash {
	struct arena_list __arena *buckets;
	__u32 bits;
	__u32 count;
};

/* Gives the table its buckets: 0, or -ENOMEM. */
static __always_inline int arena_hash_init(void *map, struct arena_hash __arena *hash, __u32 bits)
{
	__u64 bytes = sizeof(struct arena_list) << bits;

	hash->buckets = bpf_arena_alloc_pages(map, NULL, (bytes + PAGE_SIZE - 1) / PAGE_SIZE,
					      NUMA_NO_NODE, 0);
	hash->bits = bits;
	return hash->buckets ? 0 : -12;
}

static __always_inline struct arena_list __arena *
arena_hash_bucket(struct arena_hash __arena *hash, __u64 key)
{
	return &hash->buckets[key * 0x9e3779b97f4a7c15ULL >> (64 - hash->bits)];
}

static __always_inline struct arena_entry __arena *
arena_hash_find(struct arena_hash __arena *hash, __u64 key)
{
	struct arena_entry __arena *entry;

	arena_list_for_each(entry, arena_hash_bucket(hash, key), link)
		if (entry->key == key)
			return entry;
	return NULL;
}

/* Puts an entry before others of its key. */
static __always_inline void arena_hash_insert(struct arena_hash __arena *hash,
					      struct arena_entry __arena *entry, __u64 key)
{
	entry->key = key;
	arena_list_push(arena_hash_bucket(hash, key), &entry->link);
	hash->count++;
}

static __always_inline void arena_hash_remove(struct arena_hash __arena *hash,
					      struct arena_entry __arena *entry)
{
	arena_list_remove(&entry->link);
	hash->count--;
}

#endif
