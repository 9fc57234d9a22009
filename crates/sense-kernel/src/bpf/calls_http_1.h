/* Heads of HTTP/1: where one ends and how long the body behind it is, so that nothing of a body is told.
 *
 * A head is told up to its empty line and to HEAD_BYTES. The next one begins behind its body when the head says how long that is;
 * else a message has to begin with the whole first line of a head to be taken for one. */
#pragma once
#include "calls_walk.h"

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

#define ONES 0x0101010101010101ull
#define LOWER 0x2020202020202020ull

/* The high bit of each byte that is `byte`, true up to the first one. */
static __always_inline u64 bytes_that_are(u64 letters, u8 byte)
{
	u64 zeros = letters ^ ONES * byte;
	return (zeros - ONES) & ~zeros & ONES * 0x80;
}

static __always_inline u64 first_of(u64 marks)
{
	u64 at = 0;
	if (!(u32)marks) {
		at += 4;
		marks >>= 32;
	}
	if (!(u16)marks) {
		at += 2;
		marks >>= 16;
	}
	return (u8)marks ? at : at + 1;
}

/* A head begins here. */
static __always_inline void begin_head(struct walk *walk)
{
	struct direction *way = &walk->way;
	way->mode = HTTP_1_HEAD;
	way->length = 0;
	way->is_answer = way->has_length = way->is_coded = way->is_bare = way->is_split = way->carry = 0;
	way->head_told = 0;
	walk->begin = walk->now;
	walk->filled = 0;
	walk->is_unsure = 0;
}

/* A line of fields begins here. Whether it is the empty one. */
static __always_inline bool line(struct room *room, u64 at)
{
	struct walk *walk = &room->walk;
	walk->line = walk->at = at;
	OPAQUE(at);
	if (HEAD_BYTES < at)
		return true;
	const u8 *bytes = room->bytes + at;
	if (at + 2 <= walk->filled && bytes[0] == '\r' && bytes[1] == '\n') {
		walk->found = at + 2;
		return true;
	}
	if (walk->filled < at + 16)
		return false;
	u64 first = letters_at(bytes) | LOWER;
	if (first == LETTERS('c', 'o', 'n', 't', 'e', 'n', 't', '-') &&
	    (letters_at(bytes + 7) | LOWER) == LETTERS('-', 'l', 'e', 'n', 'g', 't', 'h', ':')) {
		walk->at = at + 15;
		walk->in_number = 1;
		walk->number = walk->digits = 0;
	} else if (first == LETTERS('t', 'r', 'a', 'n', 's', 'f', 'e', 'r') &&
		   (letters_at(bytes + 8) | LOWER) == LETTERS('-', 'e', 'n', 'c', 'o', 'd', 'i', 'n')) {
		walk->way.is_coded = 1;
	}
	return false;
}

/* Whether the first line, which ends here, is one of HTTP. */
static __always_inline bool is_first_line(struct room *room, u64 end)
{
	OPAQUE(end);
	if (end < 12 || HEAD_BYTES < end)
		return false;
	if (word_at(room->bytes) == WORD('H', 'T', 'T', 'P'))
		return room->bytes[4] == '/' && room->bytes[5] == '1' && room->bytes[6] == '.' && room->bytes[8] == ' ';
	return letters_at(room->bytes + end - 9) == LETTERS(' ', 'H', 'T', 'T', 'P', '/', '1', '.');
}

/* A byte of the value of `Content-Length`. */
static __always_inline void digit(struct walk *walk, u8 byte)
{
	struct direction *way = &walk->way;
	if ('0' <= byte && byte <= '9' && walk->digits < 18) {
		walk->number = walk->number * 10 + (byte - '0');
		walk->digits += 1;
		walk->at += 1;
	} else if (!walk->digits && (byte == ' ' || byte == '\t')) {
		walk->at += 1;
	} else {
		bool is_whole = walk->digits && (byte == '\r' || byte == ' ');
		way->is_coded |= !is_whole || (way->has_length && way->length != walk->number);
		way->has_length = 1;
		way->length = walk->number;
		walk->in_number = 0;
	}
}

/* Of the first line: whether a path follows a method, and whether there is one more space. */
static __always_inline void space(struct room *room, u64 at, u64 letters)
{
	struct walk *walk = &room->walk;
	u64 marks = bytes_that_are(letters, ' '), behind = first_of(marks) + 1;
	if (!marks || walk->filled < at + behind)
		return;
	OPAQUE(behind);
	if (at || 8 < behind)
		walk->has_space = 1;
	else if (behind < walk->filled)
		walk->has_method = room->bytes[behind] == '/';
}

/* Goes on to the next byte that matters. */
static long scan(u64 index, void *which)
{
	struct room *room = bpf_map_lookup_elem(&rooms, which);
	if (!room)
		return 1;
	struct walk *walk = &room->walk;
	u64 at = walk->at;
	OPAQUE(at);
	if (walk->filled <= at || HEAD_BYTES <= at)
		return 1;
	const u8 *bytes = room->bytes + at;
	if (walk->in_number) {
		digit(walk, bytes[0]);
		return 0;
	}
	u64 letters = letters_at(bytes), marks = bytes_that_are(letters, '\r');
	bool is_first = !walk->line && !walk->way.head_told;
	if (is_first)
		space(room, at, letters);
	if (!marks) {
		walk->at = at + 8;
		return 0;
	}
	u64 end = at + first_of(marks);
	OPAQUE(end);
	if (walk->filled < end + 2 || HEAD_BYTES < end) {
		walk->at = walk->filled;
		return 1;
	}
	if (room->bytes[end + 1] != '\n') {
		walk->at = end + 1;
		return 0;
	}
	if (is_first && walk->is_unsure && !is_first_line(room, end)) {
		walk->is_refused = 1;
		return 1;
	}
	return line(room, end + 2);
}

/* The end of a head may lie in two messages: the first bytes of this one may end what the last one began. */
static __always_inline void carry_on(struct room *room)
{
	struct walk *walk = &room->walk;
	u32 carry = walk->way.carry;
	for (u64 at = 0; at < 3; at++) {
		if (!carry || 3 < carry || walk->filled <= at || room->bytes[at] != (carry == 2 ? '\r' : '\n'))
			break;
		carry += 1;
		walk->at = at + 1;
	}
	if (carry == 4) {
		walk->found = walk->at;
		return;
	}
	if (carry == 2 && walk->at < walk->filled)
		line(room, walk->at);
}

/* How much of CR LF CR LF the last bytes are, those of the message before included. */
static __always_inline u8 carry_of(struct room *room)
{
	u64 filled = room->walk.filled, at = filled < 3 ? 0 : filled - 3;
	u8 carry = filled < 3 ? room->walk.way.carry : 0;
	for (u32 count = 0; count < 3; count++, at++) {
		OPAQUE(at);
		if (HEAD_BYTES <= at || filled <= at)
			break;
		u8 byte = room->bytes[at];
		if (byte == '\r')
			carry = carry == 2 ? 3 : 1;
		else
			carry = byte == '\n' && carry == 1 ? 2 : 0;
	}
	return carry;
}

/* What the first word says of the whole message. */
static __always_inline bool first_word(struct room *room)
{
	struct walk *walk = &room->walk;
	if (walk->filled < 4)
		return true;
	u32 word = word_at(room->bytes);
	if (!begins_http_1(word))
		return false;
	walk->way.is_answer = word == WORD('H', 'T', 'T', 'P');
	if (word == WORD('H', 'E', 'A', 'D'))
		walk->asked |= ASKED_HEAD;
	if (word == WORD('C', 'O', 'N', 'N'))
		walk->asked |= ASKED_CONNECT;
	if (walk->way.is_answer && 12 <= walk->filled) {
		u32 status = WORD(room->bytes[9], room->bytes[10], room->bytes[11], 0);
		walk->way.is_bare = (u8)status == '1' || status == WORD('2', '0', '4', 0) || status == WORD('3', '0', '4', 0);
		if (status == WORD('1', '0', '1', 0) || ((u8)status == '2' && walk->asked & ASKED_CONNECT))
			walk->kind = LEFT;
	}
	return true;
}

/* What comes behind a head that ends here: its body, if it is known how long that is. */
static __always_inline long behind_head(struct walk *walk, u32 end)
{
	struct direction *way = &walk->way;
	bool is_known = way->has_length || !way->is_answer, may_be_bare = way->is_answer && walk->asked & ASKED_HEAD;
	walk->now = walk->begin;
	walk->filled = 0;
	if (walk->kind == LEFT) {
		way->mode = NOWHERE;
		return 1;
	}
	if (!way->is_bare && (way->is_coded || way->is_split || !is_known || may_be_bare)) {
		way->mode = NOWHERE;
		return 1;
	}
	way->mode = SKIPPING;
	way->wanted = end + (way->is_bare ? 0 : way->length);
	return 0;
}

/* As much of a head is there as will be of this message. Whether that was all. */
static __always_inline long head(struct room *room, u32 *which)
{
	struct walk *walk = &room->walk;
	struct direction *way = &walk->way;
	bool is_begun = way->head_told;
	u32 kind = walk->kind;
	if (!is_begun && !first_word(room)) {
		way->mode = NOWHERE;
		return 1;
	}
	walk->at = walk->line = walk->found = walk->in_number = walk->is_refused = 0;
	walk->has_method = walk->has_space = 0;
	if (is_begun)
		carry_on(room);
	if (!walk->found)
		bpf_loop(2 * HEAD_BYTES, scan, which, 0);
	if (walk->is_unsure && !walk->found && !walk->line) /* Not even its first line is whole: only a path may be so long. */
		walk->is_refused |= walk->has_space || !walk->has_method;
	if (walk->is_refused) {
		walk->kind = kind;
		way->mode = NOWHERE;
		return 1;
	}
	walk->kind = walk->kind == LEFT ? LEFT : HTTP_1;
	u32 end = walk->found ? walk->found : walk->filled;
	room->event.offset = walk->end - walk->begin.left;
	tell(room, end);
	if (walk->found)
		return behind_head(walk, end);
	way->carry = carry_of(room);
	way->is_split |= walk->in_number || (walk->line && walk->line != walk->filled) || (is_begun && !walk->line);
	way->head_told += end;
	if (HEAD_BYTES <= way->head_told)
		way->mode = NOWHERE;
	return 1;
}
