/* What processes say over TCP when it may be HTTP: heads, with when and where in the stream, and nothing of bodies.
 *
 * The kernel tells whenever something was sent or received on a socket, and only then: other system calls of any process
 * cost nothing more. The bytes are where the system call said, which the saved registers of the caller remember.
 *
 * Each direction is followed from head to body to head. Of HTTP/1 a head is told up to its empty line and to HEAD_BYTES, of
 * HTTP/2 blocks of fields, and heads of frames that end a stream. What lies between two pieces that follow each other by number
 * was stepped over; a number that is left out says that something was lost. Of what is neither nothing is told: after some
 * messages of that kind a connection is looked at only now and then. Nobody is woken up: who reads does so when it likes, and
 * what finds no room is counted. */
#include "kernel_types.h"
#include <bpf/bpf_helpers.h>
#include "calls_http_1.h"
#include "calls_http_2.h"
#include "calls_walk.h"
#include "targets.h"

/* Bytes by which a connection that nobody knows yet is known. */
#define LOOK_BYTES 9
/* Steps that one message may take: one for each piece of memory, head of a frame, body, and piece of a head. Those of a
 * message of 64 KiB in frames of 32 bytes; a longer one is lost. */
#define STEPS_MAX 4096
/* Messages in a row that are not HTTP, after which a connection is given up; and then one of so many is looked at, should
 * it have been the middle of something long. */
#define MISSES_MAX 16
#define LOOK_EVERY 64

enum { PEEK = 2, STREAM = 1, INET = 2, INET6 = 10 };

#if defined(__TARGET_ARCH_arm64)
enum call { READ = 63, WRITE = 64, READV = 65, WRITEV = 66, SENDTO = 206, RECVFROM = 207, SENDMSG = 211, RECVMSG = 212 };
#else
enum call { READ = 0, WRITE = 1, READV = 19, WRITEV = 20, SENDTO = 44, RECVFROM = 45, SENDMSG = 46, RECVMSG = 47 };
#endif

/* Connections of targets, by their number; those that were silent longest go first. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, u64);
	__type(value, struct connection);
} connections SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} epochs SEC(".maps");

static __always_inline struct connection *connection_of(u64 number, u32 process)
{
	u32 zero = 0, *epoch = bpf_map_lookup_elem(&epochs, &zero);
	struct connection *known = bpf_map_lookup_elem(&connections, &number);
	if (!epoch)
		return 0;
	if (known && known->epoch == *epoch)
		return known;
	struct connection fresh = { .epoch = *epoch, .process = process };
	bpf_map_update_elem(&connections, &number, &fresh, BPF_ANY);
	return bpf_map_lookup_elem(&connections, &number);
}

/* Where the bytes are that the system call of now has sent or received. Whether they can be had. */
static __always_inline bool find(struct cursor *now)
{
	struct pt_regs *registers = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
	u64 where = SYSCALL_SECOND(registers), how_many = SYSCALL_THIRD(registers);
	*now = (struct cursor){ .left = now->left };
	switch (SYSCALL_NUMBER(registers)) {
	case READ:
	case WRITE:
	case SENDTO:
	case RECVFROM:
		now->base = where;
		now->here = how_many;
		return true;
	case SENDMSG:
	case RECVMSG: {
		/* As `struct user_msghdr`: name, its length, vectors, how many. */
		u64 head[4];
		if (bpf_probe_read_user(head, sizeof(head), (void *)where))
			return false;
		now->vectors = head[2];
		now->vectors_left = head[3];
		return true;
	}
	case READV:
	case WRITEV:
		now->vectors = where;
		now->vectors_left = how_many;
		return true;
	}
	return false; /* sendfile, io_uring. */
}

/* Where nobody knows what comes, the first bytes of a message may say it. Whether they do not. */
static __always_inline long look(struct room *room)
{
	struct walk *walk = &room->walk;
	const u8 *bytes = room->bytes;
	bool is_long = LOOK_BYTES <= walk->filled;
	walk->now = walk->begin;
	if (walk->kind == UNKNOWN && is_long && letters_at(bytes) == LETTERS('P', 'R', 'I', ' ', '*', ' ', 'H', 'T')) {
		walk->kind = HTTP_2;
		walk->way.mode = TELLING;
		walk->way.wanted = PREFACE_BYTES;
		walk->filled = 0;
		return 0;
	}
	if (walk->kind != HTTP_2 && 4 <= walk->filled && begins_http_1(word_at(bytes))) {
		begin_head(walk);
		walk->is_unsure = 1;
		return 0;
	}
	walk->filled = 0;
	walk->way.mode = NOWHERE;
	if (walk->kind == HTTP_1 || !is_long || !is_frame(bytes))
		return 1;
	walk->way.mode = FRAME_HEAD;
	walk->way.frame_filled = 0;
	walk->is_dry = 1;
	return 0;
}

/* Bytes that are looked at before anything is said of them. */
static __always_inline long gather(struct room *room, u64 here, u32 *which)
{
	struct walk *walk = &room->walk;
	u32 wanted = walk->way.mode == LOOKING ? LOOK_BYTES : HEAD_BYTES - walk->way.head_told;
	u64 filled = walk->filled, more = wanted - filled;
	if (here < more)
		more = here;
	OPAQUE(more);
	OPAQUE(filled);
	if (HEAD_BYTES < more || HEAD_BYTES <= filled)
		return lose(walk);
	if (bpf_probe_read_user(room->bytes + filled, more, (void *)walk->now.base))
		return lose(walk);
	walk->filled = filled + more;
	move(walk, more);
	if (walk->filled < wanted && walk->now.left)
		return 0;
	return walk->way.mode == LOOKING ? look(room) : head(room, which);
}

static __always_inline long skip(struct walk *walk, u64 here)
{
	struct direction *way = &walk->way;
	u64 bytes = way->wanted < here ? way->wanted : here;
	move(walk, bytes);
	way->wanted -= bytes;
	if (way->wanted)
		return 0;
	if (walk->kind == HTTP_1)
		begin_head(walk);
	else
		way->mode = FRAME_HEAD;
	return 0;
}

/* The message is over. If it was frames from its first to its last byte, it is gone through once more and told. */
static __always_inline long stop(struct room *room)
{
	struct walk *walk = &room->walk;
	struct direction *way = &walk->way;
	if (!walk->is_dry) {
		if (way->mode != HTTP_1_HEAD)
			tell(room, walk->filled);
		return 1;
	}
	/* Some read the head of a frame first, and then what is in it. */
	bool is_head = walk->begin.left == FRAME_HEAD_BYTES;
	walk->is_dry = 0;
	if (!is_head && (way->mode != FRAME_HEAD || way->frame_filled)) {
		way->mode = NOWHERE;
		return 1;
	}
	walk->kind = HTTP_2;
	walk->now = walk->begin;
	way->mode = FRAME_HEAD;
	return 0;
}

static long step(u64 index, void *which)
{
	struct room *room = bpf_map_lookup_elem(&rooms, which);
	if (!room)
		return 1;
	struct walk *walk = &room->walk;
	if (!walk->now.left)
		return stop(room);
	if (!walk->now.here)
		return next_vector(walk) ? 0 : lose(walk);
	u64 here = walk->now.here < walk->now.left ? walk->now.here : walk->now.left;
	switch (walk->way.mode) {
	case LOOKING:
	case HTTP_1_HEAD:
		return gather(room, here, which);
	case FRAME_HEAD:
		return frame_head(room, here);
	case TELLING:
		return block(room, here);
	case SKIPPING:
		return skip(walk, here);
	}
	return 1;
}

/* Goes through a message, on from where the last one of its direction ended. */
static __always_inline void go_through(struct room *room, u32 *which)
{
	struct walk *walk = &room->walk;
	u8 mode = walk->way.mode;
	walk->is_dry = 0;
	if (mode == SKIPPING && walk->now.left <= walk->way.wanted) {
		skip(walk, walk->now.left);
		return;
	}
	if (!find(&walk->now)) {
		if (mode != NOWHERE)
			lose(walk);
		return;
	}
	walk->begin = walk->now;
	walk->filled = walk->is_unsure = 0;
	if (mode == NOWHERE)
		walk->way.mode = LOOKING;
	if (bpf_loop(STEPS_MAX, step, which, 0) == STEPS_MAX || walk->way.mode == LOOKING)
		lose(walk);
}

static __always_inline int message(struct sock *sock, int length, int flags, u32 what)
{
	u32 process = bpf_get_current_pid_tgid() >> 32;
	if (length <= 0 || flags & PEEK || !is_wanted(process))
		return 0;
	u16 family = sock->__sk_common.skc_family;
	if ((family != INET && family != INET6) || sock->sk_type != STREAM)
		return 0;
	u64 number = bpf_get_socket_cookie(sock), now = bpf_ktime_get_ns();
	struct connection *of = connection_of(number, process);
	u32 which = what;
	struct room *room = bpf_map_lookup_elem(&rooms, &which);
	if (!of || !room || of->kind == LEFT)
		return 0;
	struct direction *here = &of->directions[what];
	here->bytes += length;
	if (MISSES_MAX <= of->misses && of->misses % LOOK_EVERY) {
		of->misses += 1;
		return 0;
	}
	struct walk *walk = &room->walk;
	walk->way = *here;
	walk->kind = of->kind;
	walk->asked = of->asked;
	walk->end = here->bytes;
	walk->now.left = length;
	room->event = (struct event){
		.connection = number, .at_ns = now, .process = process, .port = sock->__sk_common.skc_num, .what = what, .epoch = of->epoch,
	};
	go_through(room, &which);
	*here = walk->way;
	of->asked |= walk->asked;
	if (of->kind != walk->kind)
		of->kind = walk->kind;
	if (of->kind == UNKNOWN) {
		of->misses += 1;
		if (of->misses == MISSES_MAX)
			count(GIVEN_UP);
	} else {
		of->misses = 0;
	}
	return 0;
}

SEC("tp_btf/sock_recv_length")
int on_received(u64 *ctx)
{
	return message((void *)ctx[0], ctx[1], ctx[2], RECEIVED);
}

SEC("tp_btf/sock_send_length")
int on_sent(u64 *ctx)
{
	return message((void *)ctx[0], ctx[1], ctx[2], SENT);
}

/* Whoever is present changes a state on behalf of its own connection, or of another's packet: it does not tell who ended it. */
SEC("tp_btf/inet_sock_set_state")
int on_state(u64 *ctx)
{
	struct sock *sock = (void *)ctx[0];
	int before = ctx[1], now = ctx[2];
	if (now != FIN_WAIT_1 && now != LAST_ACK && now != CLOSED)
		return 0;
	u64 number = bpf_get_socket_cookie(sock);
	struct connection *of = bpf_map_lookup_elem(&connections, &number);
	if (!of)
		return 0;
	bool is_broken = now == CLOSED && (before == ESTABLISHED || before == CLOSE_WAIT);
	bool is_ours = !sock->sk_err;
	u32 what = now == FIN_WAIT_1 || (is_broken && is_ours) ? WE_ENDED : now == LAST_ACK || is_broken ? THEY_ENDED : GONE;
	if (of->kind != UNKNOWN) {
		/* Not in a room: this comes in the middle of what others do. */
		struct event event = {
			.connection = number, .at_ns = bpf_ktime_get_ns(), .process = of->process,
			.port = sock->__sk_common.skc_num, .what = what, .epoch = of->epoch,
			.sequence = of->directions[RECEIVED].sequence, .length = of->directions[SENT].sequence,
		};
		if (bpf_ringbuf_output(&events, &event, sizeof(event), BPF_RB_NO_WAKEUP))
			count(LOST);
		event.what = GONE;
		if (is_broken && bpf_ringbuf_output(&events, &event, sizeof(event), BPF_RB_NO_WAKEUP))
			count(LOST);
	}
	if (now == CLOSED)
		bpf_map_delete_elem(&connections, &number);
	return 0;
}

char license_of_programs[] SEC("license") = "Dual BSD/GPL";
