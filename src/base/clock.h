/*
 * clock.h - the types of time; reading clocks is the business of loop/.
 *
 * *_ms is a duration, *_at a point on the monotonic clock of the process in milliseconds; what
 * must survive a restart is *_unix_ms, milliseconds since 1970 UTC.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

typedef uint64_t msec;

#define MS_NEVER  UINT64_MAX
#define SECOND_MS 1000u
#define MINUTE_MS 60000u
#define HOUR_MS   3600000u
#define DAY_MS    86400000u

#endif
