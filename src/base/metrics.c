#include "base/metrics.h"

struct metrics metrics;

const struct metric_text counter_texts[] = {
#define COUNTER(name, help) { #name, help },
#define BY_CAUSE(name, help)
#define GAUGE(name, help)
#include "base/metrics.def"
#undef COUNTER
#undef BY_CAUSE
#undef GAUGE
};

const struct metric_text cause_texts[] = {
#define COUNTER(name, help)
#define BY_CAUSE(name, help) { #name, help },
#define GAUGE(name, help)
#include "base/metrics.def"
#undef COUNTER
#undef BY_CAUSE
#undef GAUGE
};

const struct metric_text gauge_texts[] = {
#define COUNTER(name, help)
#define BY_CAUSE(name, help)
#define GAUGE(name, help) { #name, help },
#include "base/metrics.def"
#undef COUNTER
#undef BY_CAUSE
#undef GAUGE
};
