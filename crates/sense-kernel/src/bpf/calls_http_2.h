/* Frames of HTTP/2: what of them is told is the blocks of fields, where a body ends, and where a stream is broken off.
 *
 * A frame says how long it is, so that a body is stepped over where it lies. */
#pragma once
#include "calls_walk.h"

#define FRAME_HEAD_BYTES 9
#define PREFACE_BYTES 24
/* Frames that everybody takes. */
#define FRAME_BYTES 16384

enum frame { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, PUSH_PROMISE = 5, PING = 6, GOAWAY = 7, WINDOW_UPDATE = 8, CONTINUATION = 9 };
enum { END_STREAM = 1 };

static __always_inline u32 frame_length(const u8 *head)
{
	return (u32)head[0] << 16 | (u32)head[1] << 8 | head[2];
}

/* Whether nine bytes are a frame that RFC 9113 allows: a length that everybody takes, a known kind, a stream that fits it. */
static __always_inline bool is_frame(const u8 *head)
{
	u32 length = frame_length(head);
	u32 stream = word_at(head + 5); /* Its bytes are reversed, which does not matter for zero. */
	if (FRAME_BYTES < length || head[5] & 0x80)
		return false;
	switch (head[3]) {
	case SETTINGS:
		return !stream && length % 6 == 0;
	case PING:
		return !stream && length == 8;
	case GOAWAY:
		return !stream && 8 <= length;
	case WINDOW_UPDATE:
		return length == 4;
	case RST_STREAM:
		return stream && length == 4;
	case DATA:
	case HEADERS:
	case CONTINUATION:
		return head[8] & 1;
	}
	return false;
}

/* Room for so many bytes that follow those in it; what was there is told. */
static __always_inline void make_room(struct room *room, u64 offset, u32 bytes)
{
	struct walk *walk = &room->walk;
	if (walk->filled && (room->event.offset + walk->filled != offset || ROOM_BYTES < walk->filled + bytes)) {
		tell(room, walk->filled);
		walk->filled = 0;
	}
	if (!walk->filled)
		room->event.offset = offset;
}

/* The head of a frame is whole. */
static __always_inline long begin_frame(struct room *room)
{
	struct walk *walk = &room->walk;
	struct direction *way = &walk->way;
	u32 length = frame_length(way->frame), kind = way->frame[3];
	bool is_block = kind == HEADERS || kind == PUSH_PROMISE || kind == CONTINUATION;
	bool is_told = is_block || kind == RST_STREAM || (kind == DATA && way->frame[4] & END_STREAM);
	way->frame_filled = 0;
	if (walk->is_dry ? !is_frame(way->frame) : (CONTINUATION < kind || is_block) && FRAME_BYTES < length)
		return lose(walk);
	way->wanted = length;
	way->mode = !length ? FRAME_HEAD : is_block && !walk->is_dry ? TELLING : SKIPPING;
	if (!is_told || walk->is_dry)
		return 0;
	make_room(room, walk->end - walk->now.left - FRAME_HEAD_BYTES, FRAME_HEAD_BYTES);
	u64 filled = walk->filled;
	OPAQUE(filled);
	if (ROOM_BYTES < filled)
		return lose(walk);
	__builtin_memcpy(room->bytes + filled, way->frame, FRAME_HEAD_BYTES);
	walk->filled = filled + FRAME_HEAD_BYTES;
	return 0;
}

/* Bytes of the head of a frame, all or one. */
static __always_inline long frame_head(struct room *room, u64 here)
{
	struct walk *walk = &room->walk;
	struct direction *way = &walk->way;
	u64 filled = way->frame_filled, bytes = !filled && FRAME_HEAD_BYTES <= here ? FRAME_HEAD_BYTES : 1;
	void *from = (void *)walk->now.base;
	OPAQUE(filled);
	if (FRAME_HEAD_BYTES <= filled)
		return lose(walk);
	if (bytes == 1 ? bpf_probe_read_user(way->frame + filled, 1, from) : bpf_probe_read_user(way->frame, FRAME_HEAD_BYTES, from))
		return lose(walk);
	move(walk, bytes);
	way->frame_filled = filled + bytes;
	return way->frame_filled == FRAME_HEAD_BYTES ? begin_frame(room) : 0;
}

/* Bytes that are told. */
static __always_inline long block(struct room *room, u64 here)
{
	struct walk *walk = &room->walk;
	struct direction *way = &walk->way;
	make_room(room, walk->end - walk->now.left, 1);
	u64 filled = walk->filled, more = way->wanted < here ? way->wanted : here;
	if (ROOM_BYTES - filled < more)
		more = ROOM_BYTES - filled;
	OPAQUE(more);
	OPAQUE(filled);
	if (ROOM_BYTES < more || ROOM_BYTES <= filled)
		return lose(walk);
	if (bpf_probe_read_user(room->bytes + filled, more, (void *)walk->now.base))
		return lose(walk);
	walk->filled = filled + more;
	move(walk, more);
	way->wanted -= more;
	if (!way->wanted)
		way->mode = FRAME_HEAD;
	return 0;
}
