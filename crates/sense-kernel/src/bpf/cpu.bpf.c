/* CPU sampling: at each tick of a software clock, which stack runs on this CPU.
 *
 * Samples are only counted, by process, user stack and kernel stack; a copied stack is a sample itself. */
#include "stacks.h"

struct counts {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct sample_key);
	__type(value, u64);
};
struct counts counts_0 SEC(".maps");
struct counts counts_1 SEC(".maps");

static __always_inline int sample(void *ctx, bool can_read_registers)
{
	u32 zero = 0, tgid = bpf_get_current_pid_tgid() >> 32;
	struct settings *now = bpf_map_lookup_elem(&settings, &zero);
	if (!now || !tgid)
		return 0; /* Nobody runs. */
	struct target *target = bpf_map_lookup_elem(&targets, &tgid);
	if (!target && now->only_targets)
		return 0;
	u64 kernel = keep_stack(ctx, 0, 0), top = 0;
	u32 born = born_of_current();
	if (!target || target->born != born) {
		announce(tgid, born, false);
		target = 0;
	}
	if (can_read_registers && target) {
		if (target->unwind == UNWIND_COPY && copy_stack(tgid, born, kernel, 0))
			return 0;
		top = code_on_top(target);
	}
	struct sample_key key = {
		.tgid = tgid,
		.born = born,
		.user = keep_stack(ctx, BPF_F_USER_STACK, top),
		.kernel = kernel,
	};
	void *counts = now->buffer ? (void *)&counts_1 : (void *)&counts_0;
	u64 *count = bpf_map_lookup_elem(counts, &key), one = 1;
	if (!count) {
		if (!bpf_map_update_elem(counts, &key, &one, BPF_NOEXIST))
			return 0;
		/* Another CPU may have been quicker. */
		count = bpf_map_lookup_elem(counts, &key);
	}
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		lose(LOST_COUNT);
	return 0;
}

SEC("perf_event")
int sample_cpu_plainly(void *ctx)
{
	return sample(ctx, false);
}

/* Needs more helpers of the kernel (5.15) than the one above. */
SEC("perf_event")
int sample_cpu(void *ctx)
{
	return sample(ctx, true);
}

char license_of_programs[] SEC("license") = "Dual BSD/GPL";
