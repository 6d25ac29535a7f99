/* What CO-RE asks of a structure, of which the target has another version. */
#include "head.h"
#define PAI __attribute__((preserve_access_index))
enum { OFFSET, SIZE, EXISTS, SIGNED, LEFT, RIGHT };
struct inner {
	unsigned short half;
} PAI;
struct thing___mine {
	int nested;
	struct inner inner[4];
	unsigned other : 4;
	int gone;
	unsigned wide;
} PAI;
enum choice { YES = 3, MAYBE = 5 };
volatile long out;

SEC("syscall") int f(struct thing___mine *t)
{
	out = __builtin_preserve_field_info(t->nested, OFFSET);
	out = __builtin_preserve_field_info(t->inner[1].half, SIZE);
	out = __builtin_preserve_field_info(t->inner[0].half, OFFSET);
	out = __builtin_preserve_field_info(t->other, EXISTS);
	out = __builtin_preserve_field_info(t->gone, EXISTS);
	out = __builtin_preserve_type_info(*t, 1);
	out = __builtin_preserve_type_info(*t, 0);
	out = __builtin_preserve_enum_value(*(enum choice *)YES, 1);
	out = __builtin_preserve_enum_value(*(enum choice *)MAYBE, 0);
	out = __builtin_preserve_field_info(t->other, RIGHT);
	return t->wide;
}
char LICENSE[] SEC("license") = "GPL";
