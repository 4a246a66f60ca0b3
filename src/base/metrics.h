/*
 * metrics.h - counters and gauges of the process, declared in metrics.def.
 *
 * Plain numbers written by the loop thread only. Readers walk the tables below, so that every
 * way of showing them (status verb, control socket, manual) says the same.
 */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum counter {
#define COUNTER(name, help) COUNT_##name,
#define BY_CAUSE(name, help)
#define GAUGE(name, help)
#include "base/metrics.def"
#undef COUNTER
#undef BY_CAUSE
#undef GAUGE
	COUNTER_COUNT
};

enum cause {
#define COUNTER(name, help)
#define BY_CAUSE(name, help) CAUSE_##name,
#define GAUGE(name, help)
#include "base/metrics.def"
#undef COUNTER
#undef BY_CAUSE
#undef GAUGE
	CAUSE_COUNT
};

enum gauge {
#define COUNTER(name, help)
#define BY_CAUSE(name, help)
#define GAUGE(name, help) GAUGE_##name,
#include "base/metrics.def"
#undef COUNTER
#undef BY_CAUSE
#undef GAUGE
	GAUGE_COUNT
};

struct metrics {
	uint64_t counters[COUNTER_COUNT];
	uint64_t causes[CAUSE_COUNT][ERR_COUNT];
	struct {
		uint64_t used, limit, peak;
	} gauges[GAUGE_COUNT];
};

extern struct metrics metrics;

static inline void count(enum counter c)
{
	metrics.counters[c]++;
}

static inline void count_add(enum counter c, uint64_t n)
{
	metrics.counters[c] += n;
}

static inline void count_cause(enum cause c, enum err e)
{
	metrics.causes[c][e]++;
}

static inline void gauge_up(enum gauge g)
{
	if (++metrics.gauges[g].used > metrics.gauges[g].peak)
		metrics.gauges[g].peak = metrics.gauges[g].used;
}

static inline void gauge_down(enum gauge g)
{
	check(metrics.gauges[g].used > 0);
	metrics.gauges[g].used--;
}

struct metric_text {
	const char *name, *help;
};
extern const struct metric_text counter_texts[COUNTER_COUNT];
extern const struct metric_text cause_texts[CAUSE_COUNT];
extern const struct metric_text gauge_texts[GAUGE_COUNT];

#endif
