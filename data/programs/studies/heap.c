/* A general allocator in an arena: size classes, free lists, and pages that go back when empty.
 *
 * A page serves blocks of one size. It begins with a head; blocks are cut from its rest one by one,
 * and freed blocks wait in a list that runs through their first words:
 *
 *     page + 0  head | block | block (free) -> block (free) -> 0 | not yet cut ...
 *
 * The pages of a class that have room form a list. A page whose last block is freed is given back
 * to the arena. Requests above the largest class get pages of their own, with the same head. */
#include "arena.h"

ARENA(arena, 1024);

#define CLASSES 8 /* 16, 32, ... 2048 bytes */
#define SMALLEST 16
#define LARGEST 2048
#define SLOTS 512

struct page_head {
	struct page_head __arena *next; /* in the list of pages with room */
	struct page_head __arena *prev;
	void __arena *free; /* freed blocks */
	__u32 size;         /* of a block; 0 for a run of whole pages */
	__u32 used;         /* blocks handed out */
	__u32 fresh;        /* offset of the part not yet cut */
	__u32 pages;
	__u32 class;
	__u32 listed; /* whether the page is in the list */
};

typedef struct page_head __arena page_t;

page_t *__arena room[CLASSES];
__u64 __arena live_blocks;
__u64 __arena live_bytes; /* as asked for, in the runs of churn */
__u64 __arena held_pages;
__u64 __arena refused;

static __always_inline page_t *head_of(void __arena *block)
{
	return (page_t *)((__u64)block & ~(__u64)(PAGE_SIZE - 1));
}

static __always_inline void list_page(page_t *page)
{
	page_t *first = room[page->class & (CLASSES - 1)];

	page->prev = NULL;
	page->next = first;
	if (first)
		first->prev = page;
	room[page->class & (CLASSES - 1)] = page;
	page->listed = 1;
}

static __always_inline void unlist_page(page_t *page)
{
	if (page->prev)
		page->prev->next = page->next;
	else
		room[page->class & (CLASSES - 1)] = page->next;
	if (page->next)
		page->next->prev = page->prev;
	page->listed = 0;
}

static __noinline page_t *new_pages(__u32 pages)
{
	page_t *page = bpf_arena_alloc_pages(&arena, NULL, pages, NUMA_NO_NODE, 0);

	if (!page)
		return NULL;
	page->pages = pages;
	held_pages += pages;
	return page;
}

static __always_inline __u32 class_of(__u64 size)
{
	__u32 class = 0;

	for (__u64 block = SMALLEST; block < size && class < CLASSES - 1; block *= 2)
		class++;
	return class;
}

static __noinline void __arena *heap_alloc(__u64 size)
{
	__u32 class;
	page_t *page;
	char __arena *block;

	if (size > LARGEST) {
		page = new_pages((size + sizeof(struct page_head) + PAGE_SIZE - 1) / PAGE_SIZE);
		if (!page)
			return NULL;
		page->size = 0;
		page->used = 1;
		live_blocks++;
		return page + 1;
	}
	class = class_of(size);
	page = room[class & (CLASSES - 1)];
	if (!page) {
		page = new_pages(1);
		if (!page)
			return NULL;
		page->class = class;
		page->size = SMALLEST << class;
		page->fresh = sizeof(struct page_head);
		list_page(page);
	}
	block = page->free;
	if (block) {
		page->free = *(void __arena *__arena *)block;
	} else {
		block = (char __arena *)page + page->fresh;
		page->fresh += page->size;
	}
	page->used++;
	if (!page->free && page->fresh + page->size > PAGE_SIZE)
		unlist_page(page);
	live_blocks++;
	return block;
}

/* A global function: verified once, and not again on every path that leads to it. */
__noinline int heap_free(__u64 address)
{
	void __arena *block = (void __arena *)address;
	page_t *page = head_of(block);

	if (!block || !page->used)
		return -1;
	live_blocks--;
	page->used--;
	if (!page->used) {
		if (page->listed)
			unlist_page(page);
		held_pages -= page->pages;
		bpf_arena_free_pages(&arena, page, page->pages);
		return 0;
	}
	*(void __arena *__arena *)block = page->free;
	page->free = block;
	if (!page->listed)
		list_page(page);
	return 0;
}

struct request {
	__u64 size;
	__u64 address; /* out: of the block, 0 when there is no memory */
};

SEC("syscall") int allocate(struct request *ctx)
{
	void __arena *block = heap_alloc(ctx->size);

	ctx->address = (__u64)block;
	return block != NULL;
}

SEC("syscall") int release(struct request *ctx)
{
	return heap_free(ctx->address);
}

/* Random blocks of up to `largest` bytes come and go; each carries its slot number, which must be
 * there when it is freed. */
struct slot {
	__u64 __arena *block;
	__u64 size;
};

struct slot __arena slots[SLOTS];

struct churn {
	__u64 rounds;
	__u64 seed;
	__u64 largest;
	__u64 damaged; /* out: blocks whose content had changed */
};

static __always_inline __u64 draw(__u64 __arena *state)
{
	__u64 x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*state = x;
	return x;
}

__u64 __arena random_state;

static __noinline int one_round(__u64 largest)
{
	__u64 number = draw(&random_state);
	struct slot __arena *slot = &slots[(number >> 8) % SLOTS];
	__u64 size = number >> 20;

	if (slot->block) {
		int intact = *slot->block == (number >> 8) % SLOTS;

		heap_free((__u64)slot->block);
		live_bytes -= slot->size;
		slot->block = NULL;
		return !intact;
	}
	/* Most blocks are small, as in real programs: the smaller of two draws. */
	size = size % largest < (number >> 40) % largest ? size % largest : (number >> 40) % largest;
	slot->size = size + 8;
	slot->block = heap_alloc(slot->size);
	if (!slot->block) {
		refused++;
		return 0;
	}
	*slot->block = (number >> 8) % SLOTS;
	live_bytes += slot->size;
	return 0;
}

SEC("syscall") int churn(struct churn *ctx)
{
	__u64 largest = ctx->largest ? ctx->largest : 256, rounds = ctx->rounds;

	random_state = ctx->seed ? ctx->seed : 1;
	for (__u64 n = 0; n < rounds && can_loop; n++)
		ctx->damaged += one_round(largest);
	return 0;
}

/* Gives everything back that churn holds. */
SEC("syscall") int drain(void *ctx)
{
	for (__u32 n = 0; n < SLOTS && can_loop; n++) {
		if (slots[n].block)
			heap_free((__u64)slots[n].block);
		slots[n].block = NULL;
		slots[n].size = 0;
	}
	live_bytes = 0;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
