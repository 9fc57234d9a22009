/* What processes say over TCP when it may be HTTP: the first bytes of each message, with when and where in the stream.
 *
 * The kernel tells whenever something was sent or received on a socket, and only then: other system calls of any process
 * cost nothing more. The bytes are where the system call said, which the saved registers of the caller remember.
 *
 * Of HTTP/1 at most HEAD_BYTES are taken of a message that begins like a request or an answer, of HTTP/2 at most
 * FRAMES_BYTES of each, because frames have to be counted. Nothing is taken of what is neither: after some messages of
 * that kind a connection is looked at only now and then. Nobody is woken up: who reads does so when it likes, and what
 * finds no room is counted. */
#include "kernel_types.h"
#include <bpf/bpf_helpers.h>
#include "targets.h"

#define HEAD_BYTES 512
#define FRAMES_BYTES 4096
/* Pieces of one message that are looked at: a head and what follows it seldom are more than three. */
#define VECTORS_MAX 8
/* Messages in a row that are not HTTP, after which a connection is given up; and then one of so many is looked at, should
 * it have been the middle of something long. */
#define MISSES_MAX 16
#define LOOK_EVERY 64

enum { PEEK = 2, STREAM = 1, INET = 2, INET6 = 10 };
enum state { ESTABLISHED = 1, FIN_WAIT_1 = 4, CLOSED = 7, CLOSE_WAIT = 8, LAST_ACK = 9 };
/* As `event_of` of `calls.rs` reads it. */
enum what { RECEIVED = 0, SENT = 1, WE_ENDED = 2, THEY_ENDED = 3, GONE = 4 };
enum count { LOST, GIVEN_UP, COUNTS };
enum kind { UNKNOWN, HTTP_1, HTTP_2 };

#if defined(__TARGET_ARCH_arm64)
enum call { READ = 63, WRITE = 64, READV = 65, WRITEV = 66, SENDTO = 206, RECVFROM = 207, SENDMSG = 211, RECVMSG = 212 };
#else
enum call { READ = 0, WRITE = 1, READV = 19, WRITEV = 20, SENDTO = 44, RECVFROM = 45, SENDMSG = 46, RECVMSG = 47 };
#endif

struct direction {
	u64 bytes;     /* That went this way since we look. */
	u32 sequence;  /* Of what was told of it. */
	u32 head_left; /* Bytes that may still belong to a head. */
};

struct connection {
	u32 epoch; /* Another one than that of now: nobody looked for a while. */
	u32 process;
	u32 kind;
	u32 misses;
	u32 frames; /* Messages in a row that look like HTTP/2. */
	u32 unused;
	struct direction directions[2];
};

struct event {
	u64 connection; /* A number that no other connection ever has. */
	u64 at_ns;
	u64 offset; /* Of the message, in what went this way since we look. */
	u32 length; /* Of the message. */
	u32 taken;  /* Of its first bytes. */
	u32 process;
	u32 sequence;
	u16 port; /* Ours. */
	u16 what;
	u32 epoch;
};

struct room {
	struct event event;
	/* Twice, so that what is copied behind what was copied lies within, whatever the verifier believes. */
	u8 bytes[2 * FRAMES_BYTES];
};

struct vector {
	u64 base, length;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} events SEC(".maps");

/* Connections of targets, by their number; those that were silent longest go first. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, u64);
	__type(value, struct connection);
} connections SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct room);
} rooms SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTS);
	__type(key, u32);
	__type(value, u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} epochs SEC(".maps");

static __always_inline void count(u32 what)
{
	u64 *value = bpf_map_lookup_elem(&counts, &what);
	if (value)
		*value += 1;
}

static __always_inline struct room *room_here(void)
{
	u32 zero = 0;
	return bpf_map_lookup_elem(&rooms, &zero);
}

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

/* One piece of memory behind what is there already. How much of it there is now. */
static __always_inline u32 add(struct room *room, u32 filled, u64 base, u64 length, u32 wanted)
{
	u64 more = wanted - filled;
	if (length < more)
		more = length;
	asm volatile("" : "+r"(more));
	asm volatile("" : "+r"(filled));
	if (FRAMES_BYTES < more || FRAMES_BYTES <= filled)
		return filled;
	if (bpf_probe_read_user(room->bytes + filled, more, (void *)base))
		return filled;
	return filled + more;
}

/* The first bytes of what the system call of now has sent or received. How many there are. */
static __always_inline u32 take(struct room *room, u32 wanted)
{
	struct pt_regs *registers = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
	u64 where = SYSCALL_SECOND(registers), how_many = SYSCALL_THIRD(registers);
	switch (SYSCALL_NUMBER(registers)) {
	case READ:
	case WRITE:
	case SENDTO:
	case RECVFROM:
		return add(room, 0, where, how_many, wanted);
	case SENDMSG:
	case RECVMSG: {
		/* As `struct user_msghdr`: name, its length, vectors, how many. */
		u64 head[4];
		if (bpf_probe_read_user(head, sizeof(head), (void *)where))
			return 0;
		where = head[2];
		how_many = head[3];
		break;
	}
	case READV:
	case WRITEV:
		break;
	default:
		return 0; /* Whose bytes cannot be had: sendfile, io_uring. */
	}
	u32 filled = 0;
	for (u32 at = 0; at < VECTORS_MAX; at++) {
		struct vector vector;
		if (how_many <= at || wanted <= filled)
			break;
		if (bpf_probe_read_user(&vector, sizeof(vector), (void *)(where + at * sizeof(vector))))
			break;
		filled = add(room, filled, vector.base, vector.length, wanted);
	}
	return filled;
}

#define WORD(a, b, c, d) ((u32)(a) | (u32)(b) << 8 | (u32)(c) << 16 | (u32)(d) << 24)

static __always_inline u32 word_at(const u8 *bytes)
{
	return WORD(bytes[0], bytes[1], bytes[2], bytes[3]);
}

static __always_inline bool begins_http_1(u32 word)
{
	switch (word) {
	case WORD('H', 'T', 'T', 'P'):
	case WORD('G', 'E', 'T', ' '):
	case WORD('P', 'O', 'S', 'T'):
	case WORD('P', 'U', 'T', ' '):
	case WORD('H', 'E', 'A', 'D'):
	case WORD('D', 'E', 'L', 'E'):
	case WORD('P', 'A', 'T', 'C'):
	case WORD('O', 'P', 'T', 'I'):
	case WORD('C', 'O', 'N', 'N'):
	case WORD('T', 'R', 'A', 'C'):
		return true;
	}
	return false;
}

/* Whether nine bytes are a frame that RFC 9113 allows: a length that everybody takes, a known kind, a stream that fits it. */
static __always_inline bool is_frame(const u8 *bytes)
{
	u32 length = (u32)bytes[0] << 16 | (u32)bytes[1] << 8 | bytes[2], kind = bytes[3];
	u32 stream = word_at(bytes + 5); /* Its bytes are reversed, which matters neither for zero nor for one of them. */
	if (16384 < length || 9 < kind || bytes[5] & 0x80)
		return false;
	switch (kind) {
	case 4: /* SETTINGS */
		return !stream && length % 6 == 0;
	case 6: /* PING */
		return !stream && length == 8;
	case 7: /* GOAWAY */
		return !stream && 8 <= length;
	case 8: /* WINDOW_UPDATE */
		return length == 4;
	case 3: /* RST_STREAM */
		return stream && length == 4;
	case 0: /* DATA */
	case 1: /* HEADERS */
	case 9: /* CONTINUATION */
		return bytes[8] & 1;
	}
	return false;
}

static __always_inline bool ends_a_head(struct room *room, u32 taken, u32 length)
{
	u32 at = taken - 4;
	asm volatile("" : "+r"(at));
	if (taken != length || HEAD_BYTES <= at)
		return false;
	return word_at(room->bytes + at) == WORD('\r', '\n', '\r', '\n');
}

/* How many of the bytes that were taken are told, by what they look like. */
static __always_inline u32 told(struct room *room, struct connection *of, struct direction *here, u32 taken, u32 length)
{
	if (of->kind == HTTP_2)
		return taken;
	u32 first = 4 <= taken ? word_at(room->bytes) : 0;
	if (first == WORD('P', 'R', 'I', ' ')) {
		of->kind = HTTP_2;
		return taken;
	}
	if (taken > HEAD_BYTES)
		taken = HEAD_BYTES;
	if (begins_http_1(first)) {
		of->kind = HTTP_1;
		of->misses = 0;
		here->head_left = ends_a_head(room, taken, length) ? 0 : HEAD_BYTES - taken;
		return taken;
	}
	if (here->head_left) {
		u32 more = taken < here->head_left ? taken : here->head_left;
		here->head_left = ends_a_head(room, taken, length) ? 0 : here->head_left - more;
		return more;
	}
	if (of->kind == UNKNOWN && 9 <= taken && is_frame(room->bytes)) {
		/* Those that were there before are not sure to be HTTP/2 until two messages say so. */
		of->frames += 1;
		if (1 < of->frames)
			of->kind = HTTP_2;
		return taken;
	}
	of->frames = 0;
	if (of->kind == UNKNOWN) {
		of->misses += 1;
		if (of->misses == MISSES_MAX)
			count(GIVEN_UP);
	}
	return 0;
}

static __always_inline void tell(struct room *room, u32 bytes)
{
	asm volatile("" : "+r"(bytes));
	if (FRAMES_BYTES < bytes)
		return;
	room->event.taken = bytes;
	if (bpf_ringbuf_output(&events, room, sizeof(room->event) + bytes, BPF_RB_NO_WAKEUP))
		count(LOST);
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
	struct room *room = room_here();
	if (!of || !room)
		return 0;
	struct direction *here = &of->directions[what];
	u64 offset = here->bytes;
	here->bytes += length;
	if (MISSES_MAX <= of->misses && of->misses % LOOK_EVERY) {
		of->misses += 1;
		return 0;
	}
	u32 most = of->kind == HTTP_1 ? HEAD_BYTES : FRAMES_BYTES;
	u32 taken = take(room, length < most ? length : most);
	u32 bytes = told(room, of, here, taken, length);
	if (!bytes && of->kind != HTTP_2)
		return 0;
	room->event = (struct event){
		.connection = number, .at_ns = now, .offset = offset, .length = length, .process = process,
		.sequence = here->sequence, .port = sock->__sk_common.skc_num, .what = what, .epoch = of->epoch,
	};
	here->sequence += 1;
	tell(room, bytes);
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

/* Who is present changes a state on behalf of its own connection, or of another's packet. */
SEC("tp_btf/inet_sock_set_state")
int on_state(u64 *ctx)
{
	struct sock *sock = (void *)ctx[0];
	int before = ctx[1], now = ctx[2];
	if (now != FIN_WAIT_1 && now != LAST_ACK && now != CLOSED)
		return 0;
	u64 number = bpf_get_socket_cookie(sock);
	struct connection *of = bpf_map_lookup_elem(&connections, &number);
	struct room *room = room_here();
	if (!of || !room)
		return 0;
	bool is_broken = now == CLOSED && (before == ESTABLISHED || before == CLOSE_WAIT);
	bool is_ours = of->process == bpf_get_current_pid_tgid() >> 32;
	u32 what = now == FIN_WAIT_1 || (is_broken && is_ours) ? WE_ENDED : now == LAST_ACK || is_broken ? THEY_ENDED : GONE;
	if (of->kind != UNKNOWN) {
		room->event = (struct event){
			.connection = number, .at_ns = bpf_ktime_get_ns(), .process = of->process,
			.port = sock->__sk_common.skc_num, .what = what, .epoch = of->epoch,
		};
		tell(room, 0);
	}
	if (now == CLOSED)
		bpf_map_delete_elem(&connections, &number);
	return 0;
}

char license_of_programs[] SEC("license") = "Dual BSD/GPL";
