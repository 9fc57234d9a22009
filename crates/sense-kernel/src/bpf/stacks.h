/* Stacks of the current thread, kept once or copied, and who is looked at: what sampling CPUs and sampling waits share.
 *
 * A stack is kept once under a hash of its addresses, in a map that forgets the least used. For programs without frame
 * pointers the top of their stack is copied instead, and unwound in user space. Counts are double: one map is filled while
 * user space reads the other.
 *
 * Maps are sized by the loader. Nothing here waits; what does not fit is counted as lost. */
#pragma once
#include "kernel_types.h"
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/* As the kernel's own limit for stacks (sysctl kernel.perf_event_max_stack), so none is cut twice. */
#define STACK_FRAMES_MAX 127
/* A copied stack; deeper ones lose their outermost frames. The benchmark's Rust program uses some hundred bytes of it. */
#define STACK_COPY_BYTES 16384
/* Copied at a time: the last piece below the stack's end is lost. */
#define STACK_PIECE_BYTES 512

enum lost_kind { LOST_COUNT, LOST_COPY, LOST_KINDS };
enum unwind { UNWIND_FRAME_POINTERS = 1, UNWIND_COPY = 2 };

struct settings {
	u32 only_targets; /* Processes that are not in `targets` are skipped. */
	u32 buffer;       /* Which of the two maps is counted in: 0 or 1. */
};

/* How a process is treated. */
struct target {
	u32 unwind;
	u32 born; /* Another one than that of the sample: it runs another program by now. */
	u64 code_start, code_end; /* Where its code is; 0 when that does not matter. */
};

struct stack {
	u32 frames;
	u32 unused;
	u64 top; /* What lies on top of the user's stack, if it is an address of code; else 0. */
	u64 addresses[STACK_FRAMES_MAX]; /* Innermost first. */
};

struct sample_key {
	u32 tgid;
	u32 born;   /* Which of those that have had this number, and which program it runs. */
	u64 user;   /* Hash of the stack; 0 is none. */
	u64 kernel;
};

struct stack_copy {
	u32 tgid;
	u32 born;
	u64 kernel;
	u64 ip, sp, fp, lr;
	u64 id; /* What counts of it have in place of the user's stack; 0 when the copy itself is the count. */
	u32 len_bytes;
	u32 unused;
	u8 bytes[STACK_COPY_BYTES];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct settings);
} settings SEC(".maps");

/* Processes that are not here are walked by frame pointers, or not at all with only_targets. None is forgotten by itself: user
 * space tells of no more than these. 1.3 MiB. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, u32);
	__type(value, struct target);
} targets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, u64);
	__type(value, struct stack);
} stacks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct stack);
} scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} copies SEC(".maps");

/* Processes that are sampled and that user space has not looked at, and those that begin a program: 1300 of them. */
struct newcomer {
	u32 tgid;
	u32 born;
	u32 begins; /* It is not sampled yet. */
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 32 << 10);
} newcomers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LOST_KINDS);
	__type(key, u32);
	__type(value, u64);
} lost SEC(".maps");

static __always_inline void lose(u32 kind)
{
	u64 *count = bpf_map_lookup_elem(&lost, &kind);
	if (count)
		*count += 1;
}

/* A number of a process is given again when it has ended, and a process may run another program: both get another value
 * here. It is a hash: two in a row are alike once in four billion times. */
static __always_inline u32 born_of_current(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	u64 started = BPF_CORE_READ(task, group_leader, start_boottime);
	u32 programs = BPF_CORE_READ(task, group_leader, self_exec_id);
	return (u32)(started * 0x9e3779b97f4a7c15ull >> 32) + programs;
}

/* Keeps the current stack and returns its hash, below 2^63 (those of stacks that user space unwinds are above); 0 when there
 * is none. Whether it was kept is for who asks for it. */
static __always_inline u64 keep_stack(void *ctx, u64 flags, u64 top)
{
	u32 zero = 0;
	struct stack *stack = bpf_map_lookup_elem(&scratch, &zero);
	if (!stack)
		return 0;
	long bytes = bpf_get_stack(ctx, stack->addresses, sizeof(stack->addresses), flags);
	if (bytes <= 0)
		return 0;
	u32 frames = (u32)bytes / sizeof(u64);
	u64 hash = frames ^ top;
	for (u32 i = 0; i < STACK_FRAMES_MAX; i++) {
		if (frames <= i)
			break;
		hash = (hash ^ stack->addresses[i]) * 0x9e3779b97f4a7c15ull;
		hash ^= hash >> 29;
	}
	hash &= ~(1ull << 63);
	hash = hash ? hash : 1;
	stack->frames = frames;
	stack->top = top;
	if (!bpf_map_lookup_elem(&stacks, &hash))
		bpf_map_update_elem(&stacks, &hash, stack, BPF_ANY);
	return hash;
}

/* A small function has no frame of its own: the return address lies on top, and the walk along frame pointers leaves its
 * caller out. Whether the word on top is that address is for user space to say; other words would only make equal stacks
 * differ. */
static __always_inline u64 code_on_top(struct target *target)
{
	struct pt_regs *registers = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
	u64 word = 0;
	if (!target->code_end || bpf_probe_read_user(&word, sizeof(word), (void *)REGISTER_SP(registers)))
		return 0;
	return target->code_start <= word && word < target->code_end ? word : 0;
}

/* Sends the top of the user's stack to user space; false when it cannot be read or there is no room, which is counted. */
static __always_inline bool copy_stack(u32 tgid, u32 born, u64 kernel, u64 id)
{
	struct pt_regs *registers = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
	struct stack_copy *copy = bpf_ringbuf_reserve(&copies, sizeof(*copy), 0);
	if (!copy) {
		lose(LOST_COPY);
		return false;
	}
	copy->tgid = tgid;
	copy->born = born;
	copy->kernel = kernel;
	copy->id = id;
	copy->ip = REGISTER_IP(registers);
	copy->sp = REGISTER_SP(registers);
	copy->fp = REGISTER_FP(registers);
	copy->lr = REGISTER_LR(registers);
	u32 len = 0;
	for (u32 at = 0; at < STACK_COPY_BYTES; at += STACK_PIECE_BYTES) {
		if (bpf_probe_read_user(copy->bytes + at, STACK_PIECE_BYTES, (void *)(copy->sp + at)))
			break;
		len = at + STACK_PIECE_BYTES;
	}
	copy->len_bytes = len;
	if (!len) {
		bpf_ringbuf_discard(copy, BPF_RB_NO_WAKEUP);
		lose(LOST_COPY);
		return false;
	}
	/* User space looks by itself a few times a second: waking it up for each would cost more than the sample. Only when
	 * half of the room is taken it cannot wait. */
	bool half = bpf_ringbuf_query(&copies, BPF_RB_RING_SIZE) / 2 <= bpf_ringbuf_query(&copies, BPF_RB_AVAIL_DATA);
	bpf_ringbuf_submit(copy, half ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
	return true;
}

/* Wakes user space up, so that it looks at a process before that ends. Where there is no room, it looks a little later. */
static __always_inline void announce(u32 tgid, u32 born, bool begins)
{
	struct newcomer *newcomer = bpf_ringbuf_reserve(&newcomers, sizeof(*newcomer), 0);
	if (!newcomer)
		return;
	newcomer->tgid = tgid;
	newcomer->born = born;
	newcomer->begins = begins;
	bpf_ringbuf_submit(newcomer, BPF_RB_FORCE_WAKEUP);
}

/* A program begins: user space opens its files, so that it may end before it is looked at because of a sample. When it ends its
 * memory is gone before anybody is told, so nothing is to be had there. */
SEC("tp_btf/sched_process_exec")
int on_exec(u64 *ctx)
{
	u32 zero = 0, tgid = bpf_get_current_pid_tgid() >> 32;
	struct settings *now = bpf_map_lookup_elem(&settings, &zero);
	if (now && (!now->only_targets || bpf_map_lookup_elem(&targets, &tgid)))
		announce(tgid, born_of_current(), true);
	return 0;
}
