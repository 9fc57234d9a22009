/* Histograms of powers of two. */
#pragma once

/* Up to 2^26 units, 67 s where a unit is a microsecond; the last slot has all above. */
#define SLOTS 28

/* Slot 0 is below one unit, slot n from 2^(n-1) on. Without a loop: verifiers follow each turn of one. */
static __always_inline u32 slot_of(u64 units)
{
	u32 rest = units >> 32 ? 0xffffffff : units, slot, more;
	if (!rest)
		return 0;
	slot = (rest > 0xffff) << 4;
	rest >>= slot;
	more = (rest > 0xff) << 3;
	rest >>= more;
	slot |= more;
	more = (rest > 0xf) << 2;
	rest >>= more;
	slot |= more;
	more = (rest > 0x3) << 1;
	rest >>= more;
	slot |= more;
	slot |= rest >> 1;
	slot += 1;
	return slot < SLOTS ? slot : SLOTS - 1;
}
