/* What happens to TCP connections, by process: begun, accepted, failed, ended, sent again, round-trip time at the end.
 *
 * The kernel changes a connection's state in whatever context a packet comes in, so the present process is its owner only
 * where a process asked for the change: when it connects, listens or closes. In between the owner is remembered; accepted
 * connections belong to who listens on their port of their network: containers have ports of their own. */
#include "kernel_types.h"
#include <bpf/bpf_helpers.h>
#include "counting_since.h"
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

/* Where somebody listens. */
struct place {
	u32 network; /* Number of the network namespace. */
	u32 port;
};

struct owner {
	u64 since; /* Which time of counting it belongs to: while nothing is counted, sockets end and are given to others. */
	u32 tgid;
	u32 unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct place);
	__type(value, u32);
} listeners SEC(".maps");

/* By socket. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, u64);
	__type(value, struct owner);
} owners SEC(".maps");

/* Connections whose owner is not known are those of process 0. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, u32);
	__type(value, struct connections);
} connections SEC(".maps");

static __always_inline struct place place_of(struct sock *sock)
{
	struct place place = {
		.network = sock->__sk_common.skc_net.net->ns.inum,
		.port = sock->__sk_common.skc_num,
	};
	return place;
}

static __always_inline u32 owner_of(struct sock *sock)
{
	u64 connection = (u64)sock;
	struct owner *owner = bpf_map_lookup_elem(&owners, &connection);
	if (owner && owner->since == counts_since())
		return owner->tgid;
	struct place place = place_of(sock);
	u32 *listener = bpf_map_lookup_elem(&listeners, &place);
	return listener ? *listener : 0;
}

static __always_inline void own(u64 connection, u32 tgid)
{
	struct owner owner = { .since = counts_since(), .tgid = tgid };
	bpf_map_update_elem(&owners, &connection, &owner, BPF_ANY);
}

/* Others may listen on the same port: only who is remembered is forgotten when it does no more. */
static __always_inline void listen_no_more(struct place *place, u32 tgid)
{
	u32 *listener = bpf_map_lookup_elem(&listeners, place);
	if (listener && *listener == tgid)
		bpf_map_delete_elem(&listeners, place);
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
	u32 present = bpf_get_current_pid_tgid() >> 32;
	/* A connection that somebody begins with us is at first a copy of who listens, and leaves that state too. */
	if (now == LISTENING || (now == CLOSED && before == LISTENING)) {
		struct place place = place_of(sock);
		if (now == LISTENING)
			bpf_map_update_elem(&listeners, &place, &present, BPF_ANY);
		else
			listen_no_more(&place, present);
		return 0;
	}
	u32 owner = owner_of(sock);
	if (now == SYN_SENT || ((now == FIN_WAIT_1 || now == LAST_ACK) && !owner)) {
		own(connection, present);
		return 0;
	}
	bool begins = now == ESTABLISHED, ends = now == CLOSED && before != CLOSED;
	if (begins && owner)
		own(connection, owner);
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
	struct connections *of = of_process(owner_of(sock));
	if (of)
		__sync_fetch_and_add(&of->sent_again, 1);
	return 0;
}

char license_of_programs[] SEC("license") = "Dual BSD/GPL";
