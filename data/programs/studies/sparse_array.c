/* A sparse array over 4 GiB: some 267 million cells of 16 bytes, of which only those pages have memory
 * that hold a used one. A page comes with its first cell and goes back with its last.
 *
 * Keys are scattered over all of it: cell number = key * SCATTER mod CELLS, with CELLS prime, so that no
 * two keys share one. User space undoes that with the inverse.
 *
 *     page + 0   head: cells in use | 255 cells: value, used
 *
 * `pages`, a bit for each page, tells user space where to look: its own touch of an absent page would
 * populate it. */
#include "operate.h"

ARENA(arena, 1 << 20);

#define FIRST_PAGE 64
#define PER_PAGE 255
#define CELLS 267370559ULL /* the largest prime below (2^20 - 64) * 255 */
#define SCATTER 2654435761ULL
#define MAP_WORDS (1 << 14)

struct cell {
	__u64 value;
	__u64 used; /* in cell 0, the head: how many others are */
};

typedef struct cell __arena cell_t;

KEEP_TYPE(struct cell);

__u64 __arena *__arena pages;
__u64 __arena held_pages;
char __arena origin[1]; /* any variable tells where the arena is */

static __always_inline cell_t *page_at(__u64 number)
{
	__u64 start = (__u64)(void __arena *)origin & ~0xffffffffULL;

	return (cell_t *)(start + number * PAGE_SIZE);
}

static __always_inline __u64 cell_number(__u64 key)
{
	return key * SCATTER % CELLS;
}

/* The page with this number, populated if it is not. */
static __noinline cell_t *populated(__u64 number)
{
	__u64 bit = 1ULL << (number & 63), word = number >> 6 & (MAP_WORDS - 1);

	if (!pages)
		pages = bpf_arena_alloc_pages(&arena, NULL, MAP_WORDS * 8 / PAGE_SIZE, NUMA_NO_NODE, 0);
	if (!pages)
		return NULL;
	if (!(pages[word] & bit)) {
		if (!bpf_arena_alloc_pages(&arena, page_at(number), 1, NUMA_NO_NODE, 0))
			return NULL;
		pages[word] |= bit;
		held_pages++;
	}
	return page_at(number);
}

__noinline int insert(__u64 key, __u64 value)
{
	__u64 number = cell_number(key);
	cell_t *page = populated(FIRST_PAGE + number / PER_PAGE), *cell;

	if (!page)
		return -1;
	cell = page + 1 + number % PER_PAGE;
	cell->value = value;
	if (cell->used)
		return 0;
	cell->used = 1;
	page->used++;
	length++;
	return 1;
}

__noinline int erase(__u64 key)
{
	__u64 number = cell_number(key), at = FIRST_PAGE + number / PER_PAGE;
	cell_t *page = page_at(at), *cell = page + 1 + number % PER_PAGE;

	use_arena(arena);
	if (!cell->used) /* where no page is, a program reads zeros */
		return 0;
	cell->used = 0;
	page->used--;
	length--;
	if (!page->used) {
		pages[at >> 6 & (MAP_WORDS - 1)] &= ~(1ULL << (at & 63));
		held_pages--;
		bpf_arena_free_pages(&arena, page, 1);
	}
	return 1;
}

__noinline int find(__u64 key)
{
	__u64 number = cell_number(key);

	use_arena(arena);
	return page_at(FIRST_PAGE + number / PER_PAGE)[1 + number % PER_PAGE].used != 0;
}

/* A global function, verified once. Loops begin at a number from the arena, which the verifier does not
 * know: it would follow a count from 0 step by step. */
__u64 __arena zero;

__noinline int note_page(struct contents *found, __u64 number)
{
	cell_t *page = page_at(number);

	use_arena(arena);
	if (!found)
		return 0;
	for (__u64 n = zero + 1; n <= PER_PAGE && can_loop; n++)
		if (page[n].used) /* the cell's number stands for its key */
			note(found, (number - FIRST_PAGE) * PER_PAGE + n - 1, page[n].value);
	return 0;
}

__noinline int note_pages(struct contents *found, __u64 bits, __u64 number)
{
	use_arena(arena);
	for (; bits && can_loop; bits >>= 1, number++)
		if (bits & 1)
			note_page(found, number);
	return 0;
}

SEC("syscall") int iterate(struct contents *ctx)
{
	struct contents found = {};

	use_arena(arena);
	for (__u64 word = zero; pages && word < MAP_WORDS && can_loop; word++)
		note_pages(&found, pages[word], word << 6);
	*ctx = found;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
