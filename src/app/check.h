/*
 * check.h - the self-check: what is in the way of this door, and what to do about it.
 *
 * check_verb.c reads the configuration and prints; the others look at one thing each and say what they found.
 * They only look: nothing is opened, changed or executed. What addresses mean is decided in
 * fed/self_check.h.
 */
#ifndef APP_CHECK_H
#define APP_CHECK_H

#include "fed/self_check.h"
#include "loop/loop.h"
#include "net/dns.h"
#include "role/settings.h"

enum check_level {
	CHECK_OK,
	CHECK_WARNING, /* works for now, or for some */
	CHECK_PROBLEM, /* does not work */
	CHECK_LEVELS,
};

enum { CHECK_ADDRESSES_MAX = 64 };

struct check {
	const struct settings *settings;
	struct loop           *loop;
	struct dns            *dns; /* NULL: cannot be asked */
	struct address         own[CHECK_ADDRESSES_MAX];
	size_t                 own_count;
	struct line            line;
	bool                   json;
	size_t                 counts[CHECK_LEVELS];
};

/* topic: a word that scripts may look for; what and what to do, one sentence or two. */
#if defined(__GNUC__)
__attribute__((format(printf, 4, 5)))
#endif
void check_say(struct check *c, enum check_level level, const char *topic, const char *format, ...);

/* Each says one line or more. */
void check_clock(struct check *c);
void check_state_dir(struct check *c);
void check_ports(struct check *c);
void check_line(struct check *c); /* fills in c->line too */
void check_names(struct check *c);
void check_homeservers(struct check *c);

#endif
