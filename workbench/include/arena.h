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

/* Where things go. */
#ifndef SEC
#define SEC(name) __attribute__((section(name), used))
#endif
#ifndef __noinline
#define __noinline __attribute__((noinline))
#endif
#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

/* A map's members, encoded in types, from which BTF carries them to the loader. */
#ifndef __uint
#define __uint(name, value) int (*name)[value]
#define __type(name, value) typeof(value) *name
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

#endif
