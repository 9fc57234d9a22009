/* What Go's runtime does to a program, seen at four of its functions: how long the world is stopped, and collections.
 *
 * Probes stand on instructions that the kernel acts out (see `gosym`); which function one stands on, and whether calls that
 * find too little stack have to be left out, its cookie says. One stop at a time is all that a program can have, so it is
 * known by the process. User space reads the maps when it likes. Nothing here waits. */
#include "kernel_types.h"
#include <bpf/bpf_helpers.h>
#include "histogram.h"
#include "targets.h"

/* As in `go_watch.rs`. */
#define SITES_MAX 256
#define COOKIE_SITE 0xffff
#define COOKIE_STACK_CHECK 0x10000
#define LONG_KEPT 8

/* A site's number modulo this. */
enum function { STOP_THE_WORLD, START_THE_WORLD, COLLECTION_BEGINS, COLLECTION_ENDS, FUNCTIONS };

struct go_runtime {
	u64 slots[SLOTS]; /* Stops by length in microseconds of 1024 ns. */
	u64 stopped_ns;
	u64 longest_ns;
	u64 collections_begun;
	u64 collections;
	u64 longs;
	u64 long_at_ns[LONG_KEPT]; /* When the last long ones ended. */
};

/* Stops of this many nanoseconds and more are long. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} long_ns SEC(".maps");

/* How often each site was hit, whoever did it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SITES_MAX);
	__type(key, u32);
	__type(value, u64);
} hits SEC(".maps");

/* Since when the world of a process is stopped. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, u32);
	__type(value, u64);
} stopped SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, u32);
	__type(value, struct go_runtime);
} runtimes SEC(".maps");

static __always_inline struct go_runtime *runtime_of(u32 tgid)
{
	struct go_runtime *of = bpf_map_lookup_elem(&runtimes, &tgid);
	if (of)
		return of;
	struct go_runtime none = {};
	bpf_map_update_elem(&runtimes, &tgid, &none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&runtimes, &tgid);
}

static __always_inline void keep_stop(struct go_runtime *of, u64 now, u64 ns)
{
	u32 zero = 0, *long_from = bpf_map_lookup_elem(&long_ns, &zero);
	__sync_fetch_and_add(&of->slots[slot_of(ns >> 10)], 1);
	__sync_fetch_and_add(&of->stopped_ns, ns);
	if (of->longest_ns < ns)
		of->longest_ns = ns;
	if (long_from && *long_from <= ns) {
		of->long_at_ns[of->longs % LONG_KEPT] = now;
		of->longs += 1;
	}
}

static __always_inline int on_function(struct pt_regs *ctx)
{
	u64 cookie = bpf_get_attach_cookie(ctx), now = bpf_ktime_get_ns();
	u32 site = cookie & COOKIE_SITE, tgid = bpf_get_current_pid_tgid() >> 32;
	u64 *hit = bpf_map_lookup_elem(&hits, &site), *since;
	if (hit)
		*hit += 1;
	if (!is_wanted(tgid) || (cookie & COOKIE_STACK_CHECK && JUMPS_IF_BELOW_OR_EQUAL(ctx)))
		return 0;
	u32 function = site % FUNCTIONS;
	if (function == STOP_THE_WORLD) {
		bpf_map_update_elem(&stopped, &tgid, &now, BPF_ANY);
		return 0;
	}
	struct go_runtime *of = runtime_of(tgid);
	if (!of)
		return 0;
	if (function == COLLECTION_BEGINS) {
		__sync_fetch_and_add(&of->collections_begun, 1);
	} else if (function == COLLECTION_ENDS) {
		__sync_fetch_and_add(&of->collections, 1);
	} else {
		since = bpf_map_lookup_elem(&stopped, &tgid);
		if (!since)
			return 0;
		keep_stop(of, now, now - *since);
		bpf_map_delete_elem(&stopped, &tgid);
	}
	return 0;
}

SEC("uprobe")
int on_function_of_one(struct pt_regs *ctx)
{
	return on_function(ctx);
}

/* Attached to all sites of a file at once, since Linux 6.6. */
SEC("uprobe.multi")
int on_function_of_many(struct pt_regs *ctx)
{
	return on_function(ctx);
}

char license_of_programs[] SEC("license") = "Dual BSD/GPL";
