/*
 * pace.h - how fast somebody may go: token buckets in a table of fixed size.
 *
 * A bucket is one number, the time at which it will be full again (the "generic cell rate algorithm",
 * ITU-T I.371): each request moves it on by one interval, and whoever finds it too far ahead waits until it
 * is not. Those who wait are in line by that number alone, so a line needs no list.
 *
 * Whose bucket it is, is told by a 64-bit key which nobody outside can choose (gate.c hashes with a
 * salt). Eight share a row; the emptiest line gives way, which hands its owner a full bucket.
 * Pure: time is a parameter, in milliseconds of any clock that does not go back.
 *
 * The same table serves for remembering things until a time (pace_until, pace_is_until).
 */
#ifndef ROLE_PACE_H
#define ROLE_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"

enum { PACE_ROW = 8 };

struct pace_place {
	uint64_t key;
	uint64_t at_us; /* 0: free */
};

struct pace {
	size_t             rows;
	struct pace_place *places;
};

enum err pace_init(struct pace *p, size_t places); /* ERR_NOMEM */
void     pace_fini(struct pace *p);

/*
 * One more request at now.
 *   rate   per second, at least 1
 *   burst  requests at once after a rest, at least 1
 * Returns how long it must wait, 0: not at all. Longer than patience_ms: MS_NEVER, and it is as if it
 * had not come.
 */
msec pace_take(struct pace *p, uint64_t key, msec now, unsigned rate, unsigned burst,
               msec patience_ms);

/* Remembers key until then, which is not 0; was it remembered, and is it before then? */
void pace_until(struct pace *p, uint64_t key, msec until_at);
bool pace_is_until(const struct pace *p, uint64_t key, msec now);

#endif
