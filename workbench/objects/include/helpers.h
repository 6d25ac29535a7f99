/* SPDX-License-Identifier: MIT */
/* What else libbpf's bpf_helpers.h declares: types of maps, and the helpers and kfuncs that a
 * program can call in the workbench. Written by workbench.bpf.prototypes from the table that
 * verifier and engines use: do not edit it.
 *
 *     #include "arena.h"
 *     #include "helpers.h" */
#ifndef WORKBENCH_HELPERS_H
#define WORKBENCH_HELPERS_H
#ifndef __BPF_HELPERS__

/* What the kernel defines: functions, and settings such as CONFIG_HZ. */
#define __ksym __attribute__((section(".ksyms")))
#define __kconfig __attribute__((section(".kconfig")))
#ifndef __weak
#define __weak __attribute__((weak))
#endif

#ifndef __VMLINUX_H__
enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PROG_ARRAY = 3,
	BPF_MAP_TYPE_PERF_EVENT_ARRAY = 4,
	BPF_MAP_TYPE_PERCPU_HASH = 5,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_STACK_TRACE = 7,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_LPM_TRIE = 11,
	BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
	BPF_MAP_TYPE_HASH_OF_MAPS = 13,
	BPF_MAP_TYPE_QUEUE = 22,
	BPF_MAP_TYPE_STACK = 23,
	BPF_MAP_TYPE_RINGBUF = 27,
	BPF_MAP_TYPE_BLOOM_FILTER = 30,
};
struct bpf_spin_lock {
	__u32 val;
};
struct bpf_iter_num {
	__u64 opaque[1];
} __attribute__((aligned(8)));
#endif

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value, __u64 flags) = (void *)2;
static long (*const bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
static __u64 (*const bpf_ktime_get_ns)(void) = (void *)5;
static long (*const bpf_trace_printk)(const char *format, __u32 size, ...) = (void *)6;
static __u32 (*const bpf_get_prandom_u32)(void) = (void *)7;
static __u32 (*const bpf_get_smp_processor_id)(void) = (void *)8;
static long (*const bpf_skb_store_bytes)(void *ctx, __u32 offset, const void *from, __u32 size, __u64 flags) = (void *)9;
static void (*const bpf_tail_call)(void *ctx, void *map, __u32 index) = (void *)12;
static __u64 (*const bpf_get_current_pid_tgid)(void) = (void *)14;
static long (*const bpf_perf_event_output)(void *ctx, void *map, __u64 flags, const void *from, __u64 size) = (void *)25;
static long (*const bpf_skb_load_bytes)(void *ctx, __u32 offset, void *to, __u32 size) = (void *)26;
static __s64 (*const bpf_csum_diff)(const void *from, __u32 size, const void *to, __u32 to_size, __u32 seed) = (void *)28;
static long (*const bpf_xdp_adjust_head)(void *ctx, int delta) = (void *)44;
static long (*const bpf_xdp_adjust_tail)(void *ctx, int delta) = (void *)65;
static long (*const bpf_map_push_elem)(void *map, const void *value, __u64 flags) = (void *)87;
static long (*const bpf_map_pop_elem)(void *map, void *value) = (void *)88;
static long (*const bpf_map_peek_elem)(void *map, void *value) = (void *)89;
static void (*const bpf_spin_lock)(struct bpf_spin_lock *lock) = (void *)93;
static void (*const bpf_spin_unlock)(struct bpf_spin_lock *lock) = (void *)94;
static long (*const bpf_probe_read_user)(void *to, __u32 size, const void *user) = (void *)112;
static long (*const bpf_probe_read_kernel)(void *to, __u32 size, const void *kernel) = (void *)113;
static long (*const bpf_probe_read_user_str)(void *to, __u32 size, const void *user) = (void *)114;
static long (*const bpf_probe_read_kernel_str)(void *to, __u32 size, const void *kernel) = (void *)115;
static long (*const bpf_ringbuf_output)(void *map, const void *from, __u64 size, __u64 flags) = (void *)130;
static void *(*const bpf_ringbuf_reserve)(void *map, __u64 size, __u64 flags) = (void *)131;
static void (*const bpf_ringbuf_submit)(void *record, __u64 flags) = (void *)132;
static void (*const bpf_ringbuf_discard)(void *record, __u64 flags) = (void *)133;
static __u64 (*const bpf_ringbuf_query)(void *map, __u64 what) = (void *)134;
static long (*const bpf_copy_from_user)(void *to, __u32 size, const void *user) = (void *)148;
static long (*const bpf_for_each_map_elem)(void *map, void *callback, void *callback_ctx, __u64 flags) = (void *)164;
static long (*const bpf_loop)(__u32 rounds, void *callback, void *callback_ctx, __u64 flags) = (void *)181;
static void *(*const bpf_map_lookup_percpu_elem)(void *map, const void *key, __u32 cpu) = (void *)195;

extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym __weak;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym __weak;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym __weak;
extern void bpf_preempt_disable(void) __ksym __weak;
extern void bpf_preempt_enable(void) __ksym __weak;
extern void bpf_rcu_read_lock(void) __ksym __weak;
extern void bpf_rcu_read_unlock(void) __ksym __weak;
extern void bpf_local_irq_save(unsigned long *flags) __ksym __weak;
extern void bpf_local_irq_restore(unsigned long *flags) __ksym __weak;
extern void bpf_throw(__u64 cookie) __ksym __weak;
extern int bpf_stream_vprintk_impl(int stream, const char *format, const void *words, __u32 size, void *unused) __ksym __weak;
extern int bpf_stream_vprintk(int stream, const char *format, const void *words, __u32 size, void *unused) __ksym __weak;

/* Up to three numbers; the text goes to the engine's `printed`, in Linux to its trace pipe, too. */
#define bpf_printk(format, ...)                                              \
	({                                                                   \
		static const char text_[] = format;                          \
		bpf_trace_printk(text_, sizeof(text_), ##__VA_ARGS__);       \
	})

/* Any numbers, to the stream 1 (stdout) or 2 (stderr) of the program. */
#define bpf_stream_printk(stream, format, ...)                               \
	({                                                                   \
		static const char text_[] = format;                          \
		const __u64 words_[] = {0, ##__VA_ARGS__};                   \
		bpf_stream_vprintk_impl(stream, text_, words_ + 1,           \
					sizeof(words_) - 8, NULL);           \
	})

#endif
#endif
