/* Which processes are counted: all, or those in `targets`. */
#pragma once

struct settings {
	u32 only_targets; /* Processes that are not in `targets` are left out. */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct settings);
} settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, u32);
	__type(value, u32);
} targets SEC(".maps");

static __always_inline bool is_wanted(u32 tgid)
{
	u32 zero = 0;
	struct settings *now = bpf_map_lookup_elem(&settings, &zero);
	return now && (!now->only_targets || bpf_map_lookup_elem(&targets, &tgid));
}
