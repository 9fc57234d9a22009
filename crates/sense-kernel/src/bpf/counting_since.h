/* Since when is counted without a pause. What was remembered before may have changed unseen: waits have ended, and sockets
 * were given to others. */
#pragma once

/* In nanoseconds of the clock of bpf_ktime_get_ns; written by user space before programs are attached. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} counting_since SEC(".maps");

static __always_inline u64 counts_since(void)
{
	u32 zero = 0;
	u64 *since = bpf_map_lookup_elem(&counting_since, &zero);
	return since ? *since : 0;
}
