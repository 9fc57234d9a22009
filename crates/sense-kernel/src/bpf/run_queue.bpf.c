/* How long threads wait for a CPU: from when they may run until they do, by process.
 *
 * Waits are counted where they end, in a histogram of powers of two. Nothing is sent to user space, which reads the map
 * when it likes. Nothing here waits. */
#include "kernel_types.h"
#include <bpf/bpf_helpers.h>
#include "counting_since.h"
#include "histogram.h"
#include "targets.h"

struct waiting {
	u64 since; /* 0 when it does not wait. */
};

struct waits {
	u64 slots[SLOTS]; /* By wait in microseconds of 1024 ns. */
	u64 sum_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct waiting);
} waiting SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, u32);
	__type(value, struct waits);
} waits SEC(".maps");

/* What runs when nobody wants to, is process 0. */
static __always_inline bool is_counted(u32 tgid)
{
	return tgid && is_wanted(tgid);
}

static __always_inline void begin(struct task_struct *task)
{
	if (!is_counted(task->tgid))
		return;
	struct waiting *wait = bpf_task_storage_get(&waiting, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (wait)
		wait->since = bpf_ktime_get_ns();
}

static __always_inline void end(struct task_struct *task)
{
	struct waiting *wait = bpf_task_storage_get(&waiting, task, 0, 0);
	if (!wait || !wait->since)
		return;
	u64 since = wait->since, ns = bpf_ktime_get_ns() - since;
	wait->since = 0;
	/* It began before a pause, and nobody saw how it ended: this may be another one. */
	if (since < counts_since())
		return;
	u32 tgid = task->tgid;
	struct waits *of = bpf_map_lookup_elem(&waits, &tgid);
	if (!of) {
		struct waits none = {};
		bpf_map_update_elem(&waits, &tgid, &none, BPF_NOEXIST);
		of = bpf_map_lookup_elem(&waits, &tgid);
		if (!of)
			return;
	}
	__sync_fetch_and_add(&of->slots[slot_of(ns >> 10)], 1);
	__sync_fetch_and_add(&of->sum_ns, ns);
}

SEC("tp_btf/sched_wakeup")
int on_wakeup(u64 *ctx)
{
	begin((void *)ctx[0]);
	return 0;
}

SEC("tp_btf/sched_wakeup_new")
int on_new(u64 *ctx)
{
	begin((void *)ctx[0]);
	return 0;
}

/* Whether it had to leave, who leaves, who comes. Who leaves and could go on waits again. */
SEC("tp_btf/sched_switch")
int on_switch(u64 *ctx)
{
	struct task_struct *before = (void *)ctx[1];
	if (ctx[0] || before->__state == 0)
		begin(before);
	end((void *)ctx[2]);
	return 0;
}

char license_of_programs[] SEC("license") = "Dual BSD/GPL";
