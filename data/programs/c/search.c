/* String search in text that user space wrote into the arena. */
#include "arena.h"

ARENA(arena, 16);

char __arena text[4096] = "it was the best of times, it was the worst of times";
char __arena pattern[64] = "times";
__u32 __arena found[16];
__u32 __arena matches;

/* Whether a string begins with the pattern. */
static __noinline int begins(char __arena *at)
{
	char __arena *wanted = pattern;

	while (*wanted && *at == *wanted && can_loop) {
		at++;
		wanted++;
	}
	return !*wanted;
}

/* Returns the number of matches; the positions of the first 16 go to `found`. The count lives in
 * the arena because Linux would follow a local one, compared with 16, through every iteration. */
SEC("syscall") int search(void *ctx)
{
	matches = 0;
	for (char __arena *at = text; *at && can_loop; at++) {
		if (!begins(at))
			continue;
		if (matches < 16)
			found[matches] = at - text;
		matches++;
	}
	return matches;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
