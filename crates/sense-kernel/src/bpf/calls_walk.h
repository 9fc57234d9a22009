/* Where in a message and in its stream we are, and what of it is told. */
#pragma once
#include "kernel_types.h"
#include <bpf/bpf_helpers.h>

/* Bytes of a head of HTTP/1 that are told: method, path and status stand in its first line, and lines of 8 KiB are seldom. */
#define HEAD_BYTES 512
/* Bytes that are told at once: a block of fields of HTTP/2 that is longer is told in parts. */
#define ROOM_BYTES 4096

enum state { ESTABLISHED = 1, FIN_WAIT_1 = 4, CLOSED = 7, CLOSE_WAIT = 8, LAST_ACK = 9 };
/* As `event_of` of `calls.rs` reads it. */
enum what { RECEIVED = 0, SENT = 1, WE_ENDED = 2, THEY_ENDED = 3, GONE = 4 };
enum count { LOST, GIVEN_UP, COUNTS };
/* What is spoken. LEFT: something else by now, behind `CONNECT` or a change of protocol. */
enum kind { UNKNOWN, HTTP_1, HTTP_2, LEFT };
/* What comes next of a direction. */
enum mode {
	NOWHERE,    /* Nobody knows: a message has to begin with something that can be nothing else. */
	LOOKING,    /* That is looked at. */
	HTTP_1_HEAD,
	FRAME_HEAD,
	TELLING,    /* `wanted` bytes that are told, then the head of a frame. */
	SKIPPING,   /* `wanted` bytes that are not, then a head. */
};
/* What was asked on a connection that says what its answers are. */
enum asked { ASKED_HEAD = 1, ASKED_CONNECT = 2 };

struct direction {
	u64 bytes;    /* That went this way since we look. */
	u64 wanted;
	u64 length;   /* As `Content-Length` of the head of now says. */
	u32 sequence; /* Of what was told of it. */
	u8 mode;
	/* Of a head of HTTP/1 that has come in part. */
	u8 is_answer;
	u8 has_length;
	u8 is_coded;  /* Where its body ends follows from what is in it. */
	u8 is_bare;   /* An answer that has no body, whatever it says. */
	u8 is_split;  /* A line of it lies in two messages. */
	u8 carry;     /* How much of CR LF CR LF its last bytes are. */
	u8 frame_filled;
	u8 frame[12]; /* The head of a frame, as far as it is there. */
	u32 head_told;
};

struct connection {
	u32 epoch; /* Another one than that of now: nobody looked for a while. */
	u32 process;
	u32 kind;
	u32 misses;
	u32 asked;
	u32 unused;
	struct direction directions[2];
};

struct event {
	u64 connection; /* A number that no other connection ever has. */
	u64 at_ns;
	u64 offset; /* Of these bytes, in what went this way since we look. */
	u32 length; /* As `taken`; of an end how many pieces were told of what was sent, ... */
	u32 taken;  /* Bytes behind this. */
	u32 process;
	u32 sequence; /* ... and here of what was received. */
	u16 port; /* Ours. */
	u16 what;
	u32 epoch;
};

/* A place in the memory of who called. */
struct cursor {
	u64 base;
	u64 here;         /* Bytes in this piece of memory. */
	u64 vectors;      /* Where the next pieces are described. */
	u64 vectors_left;
	u64 left;         /* Bytes of the message. */
};

struct walk {
	struct cursor now, begin;
	u64 end; /* Of the message, in the stream. */
	struct direction way;
	u32 kind;
	u32 asked;
	u32 filled; /* Bytes of the room. */
	u32 is_dry; /* Nothing is copied: whether these are frames at all is looked at. */
	/* Of the head of HTTP/1 that is gone through. */
	u32 at;
	u32 line;  /* Where the line of now begins. */
	u32 found; /* Where the head ends, or 0. */
	u32 digits;
	u32 in_number;
	u32 is_unsure;  /* Whether it is a head its first line has to say. */
	u32 is_refused; /* It said no. */
	u32 has_method; /* And a path behind it. */
	u32 has_space;  /* Behind the path. */
	u64 number;
};

struct room {
	struct walk walk;
	struct event event;
	/* Twice, so that what is copied behind what was copied lies within, whatever the verifier believes. */
	u8 bytes[2 * ROOM_BYTES];
};

struct vector {
	u64 base, length;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} events SEC(".maps");

/* One for each direction, since who sends may be interrupted by who receives. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, struct room);
} rooms SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTS);
	__type(key, u32);
	__type(value, u64);
} counts SEC(".maps");

static __always_inline void count(u32 what)
{
	u64 *value = bpf_map_lookup_elem(&counts, &what);
	if (value)
		*value += 1;
}

#define WORD(a, b, c, d) ((u32)(a) | (u32)(b) << 8 | (u32)(c) << 16 | (u32)(d) << 24)

static __always_inline u32 word_at(const u8 *bytes)
{
	return WORD(bytes[0], bytes[1], bytes[2], bytes[3]);
}

/* Eight letters, as they lie in memory. */
#define LETTERS(a, b, c, d, e, f, g, h) ((u64)WORD(a, b, c, d) | (u64)WORD(e, f, g, h) << 32)

/* At once and not aligned: the kernel allows it on the processors that this is built for. */
static __always_inline u64 letters_at(const u8 *bytes)
{
	return *(const u64 *)bytes;
}

/* A number that the compiler knows nothing about, so that what bounds it is not left out. */
#define OPAQUE(number) asm volatile("" : "+r"(number))

/* Steps over bytes of the piece of memory of now. */
static __always_inline void move(struct walk *walk, u64 bytes)
{
	walk->now.base += bytes;
	walk->now.here -= bytes;
	walk->now.left -= bytes;
}

/* The next piece of memory; whether there is one. */
static __always_inline bool next_vector(struct walk *walk)
{
	struct vector vector;
	if (!walk->now.vectors_left || bpf_probe_read_user(&vector, sizeof(vector), (void *)walk->now.vectors))
		return false;
	walk->now.vectors += sizeof(vector);
	walk->now.vectors_left -= 1;
	walk->now.base = vector.base;
	walk->now.here = vector.length;
	return true;
}

/* Nobody knows any more where in its stream this direction is. A number that is left out tells the reader. */
static __always_inline long lose(struct walk *walk)
{
	walk->way.mode = NOWHERE;
	walk->filled = 0;
	if (walk->is_dry || walk->kind == UNKNOWN)
		return 1;
	walk->way.sequence += 1;
	count(LOST);
	return 1;
}

/* Tells the first bytes of the room. */
static __always_inline void tell(struct room *room, u64 bytes)
{
	if (!bytes)
		return;
	OPAQUE(bytes);
	if (ROOM_BYTES < bytes)
		return;
	room->event.taken = room->event.length = bytes;
	room->event.sequence = room->walk.way.sequence;
	room->walk.way.sequence += 1;
	if (bpf_ringbuf_output(&events, &room->event, sizeof(room->event) + bytes, BPF_RB_NO_WAKEUP))
		count(LOST);
}
