/* What CO-RE asks of the running kernel, its settings, and functions that may not be there. */
#include "head.h"
#define PAI __attribute__((preserve_access_index))
enum { OFFSET, SIZE, EXISTS, SIGNED, LEFT, RIGHT };
typedef int pid_t;
struct task_struct___mine {
	pid_t pid;
	int tgid;
	struct task_struct___mine *parent;
	char comm[16];
	unsigned in_execve : 1;
} PAI;
struct task_struct___other {
	int nowhere;
} PAI;
struct sk_buff {
	unsigned char pkt_type : 3;
	unsigned len;
	int nowhere;
	unsigned short protocol;
} PAI;
struct nowhere {
	int x;
} PAI;
struct list_head {
	struct list_head *next, *prev;
};
struct hlist_node {
	struct hlist_node *next, *prev;
};
enum bpf_map_type { BPF_MAP_TYPE_ARENA = 7, BPF_MAP_TYPE_NOWHERE = 9 };
extern int LINUX_KERNEL_VERSION __kconfig;
extern int CONFIG_HZ __kconfig __weak;
extern _Bool CONFIG_BPF __kconfig __weak;
extern char CONFIG_DEFAULT_HOSTNAME[16] __kconfig __weak;
extern long CONFIG_NOWHERE __kconfig __weak;
extern void bpf_nowhere(void) __ksym __weak;
volatile long out;

SEC("syscall") int fields(void *ctx)
{
	struct task_struct___mine *task = ctx;
	struct task_struct___other *other = ctx;
	struct sk_buff *packet = ctx;
	struct nowhere *nowhere = ctx;

	out = __builtin_preserve_field_info(task->pid, OFFSET);
	out = __builtin_preserve_field_info(task->pid, SIGNED);
	out = __builtin_preserve_field_info(task->comm, SIZE);
	out = __builtin_preserve_field_info(task->comm[3], OFFSET);
	out = __builtin_preserve_field_info(task->parent, EXISTS);
	out = __builtin_preserve_field_info(task->parent->parent->tgid, OFFSET);
	out = __builtin_preserve_field_info(task->in_execve, OFFSET);
	out = __builtin_preserve_field_info(task->in_execve, SIZE);
	out = __builtin_preserve_field_info(task->in_execve, SIGNED);
	out = __builtin_preserve_field_info(task->in_execve, LEFT);
	out = __builtin_preserve_field_info(task->in_execve, RIGHT);
	out = __builtin_preserve_field_info(packet->pkt_type, OFFSET);
	out = __builtin_preserve_field_info(packet->pkt_type, LEFT);
	out = __builtin_preserve_field_info(packet->pkt_type, RIGHT);
	out = __builtin_preserve_field_info(packet->len, OFFSET);
	out = __builtin_preserve_field_info(packet->protocol, OFFSET);
	out = __builtin_preserve_field_info(packet->nowhere, EXISTS);
	out = __builtin_preserve_field_info(other->nowhere, EXISTS);
	out = __builtin_preserve_field_info(nowhere->x, EXISTS);
	if (out == 1234567)
		out = __builtin_preserve_field_info(nowhere->x, EXISTS) ? nowhere->x : 0;
	return 0;
}

SEC("syscall") int types(void *ctx)
{
	out = __builtin_btf_type_id(*(struct list_head *)0, 1);
	out = __builtin_preserve_type_info(*(struct list_head *)0, 0);
	out = __builtin_preserve_type_info(*(struct list_head *)0, 1);
	out = __builtin_preserve_type_info(*(struct list_head *)0, 2);
	out = __builtin_preserve_type_info(*(struct hlist_node *)0, 0);
	out = __builtin_preserve_type_info(*(struct hlist_node *)0, 2);
	out = __builtin_preserve_type_info(*(struct nowhere *)0, 0);
	out = __builtin_preserve_type_info(*(struct nowhere *)0, 1);
	out = __builtin_preserve_type_info(*(struct sk_buff *)0, 2);
	out = __builtin_preserve_type_info(*(pid_t *)0, 0);
	out = __builtin_preserve_type_info(*(pid_t *)0, 1);
	out = __builtin_preserve_enum_value(*(enum bpf_map_type *)BPF_MAP_TYPE_ARENA, 1);
	out = __builtin_preserve_enum_value(*(enum bpf_map_type *)BPF_MAP_TYPE_ARENA, 0);
	out = __builtin_preserve_enum_value(*(enum bpf_map_type *)BPF_MAP_TYPE_NOWHERE, 0);
	return 0;
}

SEC("syscall") int settings(void *ctx)
{
	out = LINUX_KERNEL_VERSION + CONFIG_HZ + CONFIG_BPF;
	out = CONFIG_DEFAULT_HOSTNAME[1];
	out = CONFIG_NOWHERE;
	return &bpf_nowhere ? 5 : 6;
}
char LICENSE[] SEC("license") = "GPL";
