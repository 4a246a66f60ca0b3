/*
 * resolve_inside.h - what the files of the discovery machine share; for them alone.
 *
 * resolve.c begins and ends runs and knows the order of the steps; resolve_well_known.c is step 3,
 * resolve_records.c the questions to DNS, resolve_trail.c the reasons.
 */
#ifndef FED_RESOLVE_INSIDE_H
#define FED_RESOLVE_INSIDE_H

#include "fed/resolve.h"

enum { RESOLVE_STEP_TEXT_MAX = 160 };

/* ---- trail: cut silently when full; the result always finds room ---- */

void resolve_note(struct resolve *r, enum resolve_step_kind kind, struct str question,
                  const char *outcome, struct str detail, const char *why);

static inline struct str resolve_question_name(const struct resolve *r)
{
	return str_of(r->question.name);
}

/* ---- ends ---- */

/* The result lives no longer than this. */
static inline void resolve_take_life(struct resolve *r, msec ms)
{
	if (ms < r->life_ms)
		r->life_ms = ms;
}

/* No way forward: the earlier answer if that may be, else failure. */
enum resolve_need resolve_fail(struct resolve *r, enum err e, const char *why, uint64_t now);

/* With found, host_header and the result's tls_name. */
enum resolve_need resolve_succeed(struct resolve *r, uint64_t now);

/* ---- the order of steps ---- */

/* Steps 3.1 to 3.5 with result.delegated; steps 4 to 6 with the name itself. */
enum resolve_need resolve_follow_delegation(struct resolve *r, uint64_t now);
enum resolve_need resolve_follow_own_name(struct resolve *r);

/* ---- questions and what becomes of their answers ---- */

enum resolve_need resolve_ask_well_known(struct resolve *r, msec wait_ms);
enum resolve_need resolve_ask_srv(struct resolve *r);  /* of r->host */
enum resolve_need resolve_ask_host(struct resolve *r); /* addresses of r->host, with r->port */

enum resolve_need resolve_on_well_known(struct resolve *r, const struct resolve_answer *a,
                                        uint64_t now);
enum resolve_need resolve_on_srv_fed(struct resolve *r, const struct resolve_answer *a,
                                     uint64_t now);
enum resolve_need resolve_on_srv_old(struct resolve *r, const struct resolve_answer *a,
                                     uint64_t now);
enum resolve_need resolve_on_target(struct resolve *r, const struct resolve_answer *a,
                                    uint64_t now);
enum resolve_need resolve_on_host(struct resolve *r, const struct resolve_answer *a, uint64_t now);

#endif
