/* Off-CPU sampling: from which stack threads leave the CPU to wait, and how long until they run again.
 *
 * Who is made to leave while it could go on does not wait for anything but a CPU and is left out (see `run_queue.bpf.c`); the
 * time between the end of what was waited for and the thread's next turn is in the wait. A part of all waits can be sampled,
 * by chance: whether one is, does not depend on how long it lasts. A wait counts when it ends.
 *
 * A copied stack is sent when the thread leaves; counts have its id in place of a stack until user space has unwound it. */
#include "stacks.h"

struct sum {
	u64 count;
	u64 ns;
};

struct counts {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct sample_key);
	__type(value, struct sum);
};
struct counts counts_0 SEC(".maps");
struct counts counts_1 SEC(".maps");

/* Waits whose hash is not above are sampled: a share of 2^32. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} sampled SEC(".maps");

struct wait {
	u64 since; /* 0 when it does not wait, or not in the sample. */
	struct sample_key key;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct wait);
} waits SEC(".maps");

/* `task` is the current one. */
static __always_inline void begin(void *ctx, struct task_struct *task)
{
	u32 zero = 0, tgid = task->tgid;
	struct settings *now = bpf_map_lookup_elem(&settings, &zero);
	u32 *limit = bpf_map_lookup_elem(&sampled, &zero);
	if (!now || !limit || !tgid)
		return;
	struct target *target = bpf_map_lookup_elem(&targets, &tgid);
	if (!target && now->only_targets)
		return;
	u64 at = bpf_ktime_get_ns();
	u64 id = (at ^ (u64)task->pid << 40) * 0x9e3779b97f4a7c15ull | 1;
	if (*limit < (u32)(id >> 32))
		return;
	struct wait *wait = bpf_task_storage_get(&waits, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!wait) {
		lose(LOST_COUNT);
		return;
	}
	u32 born = born_of_current();
	u64 kernel = keep_stack(ctx, 0, 0), top = 0;
	if (!target || target->born != born) {
		announce(tgid, born, false);
		target = 0;
	}
	if (!target || target->unwind != UNWIND_COPY || !copy_stack(tgid, born, kernel, id)) {
		if (target)
			top = code_on_top(target);
		id = keep_stack(ctx, BPF_F_USER_STACK, top);
	}
	wait->key.tgid = tgid;
	wait->key.born = born;
	wait->key.user = id;
	wait->key.kernel = kernel;
	wait->since = at;
}

static __always_inline void end(struct task_struct *task)
{
	struct wait *wait = bpf_task_storage_get(&waits, task, 0, 0);
	if (!wait || !wait->since)
		return;
	u32 zero = 0;
	struct sample_key key = wait->key;
	struct sum first = { .count = 1, .ns = bpf_ktime_get_ns() - wait->since };
	wait->since = 0;
	struct settings *now = bpf_map_lookup_elem(&settings, &zero);
	if (!now)
		return;
	void *counts = now->buffer ? (void *)&counts_1 : (void *)&counts_0;
	struct sum *sum = bpf_map_lookup_elem(counts, &key);
	if (!sum) {
		if (!bpf_map_update_elem(counts, &key, &first, BPF_NOEXIST))
			return;
		/* Another CPU may have been quicker. */
		sum = bpf_map_lookup_elem(counts, &key);
	}
	if (sum) {
		__sync_fetch_and_add(&sum->count, 1);
		__sync_fetch_and_add(&sum->ns, first.ns);
	} else {
		lose(LOST_COUNT);
	}
}

/* Of `include/linux/sched.h`: ends, and will not run again. */
#define TASK_DEAD 0x80

/* Whether it had to leave, who leaves, who comes. */
SEC("tp_btf/sched_switch")
int sample_wait(u64 *ctx)
{
	struct task_struct *before = (void *)ctx[1];
	if (!ctx[0] && before->__state != 0 && !(before->__state & TASK_DEAD))
		begin(ctx, before);
	end((void *)ctx[2]);
	return 0;
}

char license_of_programs[] SEC("license") = "Dual BSD/GPL";
