/* What happens to TCP connections, by process: begun, accepted, failed, ended, sent again, round-trip time at the end.
 *
 * The kernel changes a connection's state in whatever context a packet comes in, so the present process is its owner only
 * where a process asked for the change: when it connects, listens or closes. In between the owner is remembered; accepted
 * connections belong to who listens on their port. */
#include "kernel_types.h"
#include <bpf/bpf_helpers.h>
#include "histogram.h"
#include "targets.h"

enum state {
	ESTABLISHED = 1,
	SYN_SENT = 2,
	SYN_RECEIVED = 3,
	FIN_WAIT_1 = 4,
	CLOSED = 7,
	LAST_ACK = 9,
	LISTENING = 10,
};

struct connections {
	u64 connected;
	u64 accepted;
	u64 failed; /* Nobody answered, or refused. */
	u64 ended;
	u64 sent_again; /* Segments. */
	u64 segments;   /* Of those that have ended. */
	u64 round_trip_us;     /* Smoothed, summed over those that have ended. */
	u64 round_trips[SLOTS]; /* The same by microseconds. */
};

/* By local port. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, u32);
	__type(value, u32);
} listeners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, u64);
	__type(value, u32);
} owners SEC(".maps");

/* Connections whose owner is not known are those of process 0. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, u32);
	__type(value, struct connections);
} connections SEC(".maps");

static __always_inline u32 owner_of(u64 connection, u32 port)
{
	u32 *owner = bpf_map_lookup_elem(&owners, &connection);
	if (!owner)
		owner = bpf_map_lookup_elem(&listeners, &port);
	return owner ? *owner : 0;
}

static __always_inline struct connections *of_process(u32 tgid)
{
	if (!is_wanted(tgid))
		return 0;
	struct connections *of = bpf_map_lookup_elem(&connections, &tgid);
	if (of)
		return of;
	struct connections none = {};
	bpf_map_update_elem(&connections, &tgid, &none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&connections, &tgid);
}

static __always_inline void end(struct connections *of, struct tcp_sock *tcp)
{
	/* The kernel keeps eighths. */
	u64 us = tcp->srtt_us >> 3;
	__sync_fetch_and_add(&of->ended, 1);
	__sync_fetch_and_add(&of->segments, tcp->segs_out);
	__sync_fetch_and_add(&of->round_trip_us, us);
	__sync_fetch_and_add(&of->round_trips[slot_of(us)], 1);
}

SEC("tp_btf/inet_sock_set_state")
int on_state(u64 *ctx)
{
	struct sock *sock = (void *)ctx[0];
	int before = ctx[1], now = ctx[2];
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sock);
	if (!tcp)
		return 0; /* Another protocol. */
	u64 connection = (u64)sock;
	u32 port = sock->__sk_common.skc_num, present = bpf_get_current_pid_tgid() >> 32;
	if (now == LISTENING) {
		bpf_map_update_elem(&listeners, &port, &present, BPF_ANY);
		return 0;
	}
	u32 owner = owner_of(connection, port);
	if (now == SYN_SENT || ((now == FIN_WAIT_1 || now == LAST_ACK) && !owner)) {
		bpf_map_update_elem(&owners, &connection, &present, BPF_ANY);
		return 0;
	}
	bool begins = now == ESTABLISHED, ends = now == CLOSED && before != LISTENING && before != CLOSED;
	if (begins && owner)
		bpf_map_update_elem(&owners, &connection, &owner, BPF_ANY);
	struct connections *of = begins || ends ? of_process(owner) : 0;
	if (of) {
		if (begins && before == SYN_SENT)
			__sync_fetch_and_add(&of->connected, 1);
		else if (begins && before == SYN_RECEIVED)
			__sync_fetch_and_add(&of->accepted, 1);
		else if (ends && before == SYN_SENT)
			__sync_fetch_and_add(&of->failed, 1);
		else if (ends && before != SYN_RECEIVED)
			end(of, tcp);
	}
	if (now == CLOSED)
		bpf_map_delete_elem(&owners, &connection);
	return 0;
}

SEC("tp_btf/tcp_retransmit_skb")
int on_sent_again(u64 *ctx)
{
	struct sock *sock = (void *)ctx[0];
	struct connections *of = of_process(owner_of((u64)sock, sock->__sk_common.skc_num));
	if (of)
		__sync_fetch_and_add(&of->sent_again, 1);
	return 0;
}

char license_of_programs[] SEC("license") = "Dual BSD/GPL";
