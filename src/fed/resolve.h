/*
 * resolve.h - Matrix server discovery as one machine: from a server name to addresses, a Host
 * header and the name the certificate must carry.
 *
 * Source: Matrix specification, Server-Server API, "Resolving server names"; step numbers in this
 * room are those of that section. RFC 2782 (SRV), RFC 9110 (redirects), RFC 9111 (cache headers).
 *
 * One normal case: example.org, nothing known.
 *	resolve_begin    -> RESOLVE_WELL_KNOWN  question: host example.org, port 443, path /.well-known/...
 *	resolve_answer   -> RESOLVE_SRV         (it said {"m.server":"matrix.example.org"})
 *	                                        question: _matrix-fed._tcp.matrix.example.org
 *	resolve_answer   -> RESOLVE_SRV         (no such record) _matrix._tcp.matrix.example.org
 *	resolve_answer   -> RESOLVE_ADDRESS     (no such record) matrix.example.org
 *	resolve_answer   -> RESOLVE_DONE        r->result: addresses with port 8448, host_header and
 *	                                        tls_name matrix.example.org, and how long it is fresh
 *
 * States (r->state), what is awaited, and where each leads:
 *	WELL_KNOWN     response to a fetch; redirect or retry -> WELL_KNOWN, else 3a-3e or 4-6
 *	SRV_FED        _matrix-fed records (3.3, 4); none -> SRV_OLD, some -> TARGET
 *	SRV_OLD        _matrix records (3.4, 5);     none -> HOST,    some -> TARGET
 *	TARGET         addresses of SRV target n; -> TARGET n+1, ENDED
 *	HOST           addresses of the host itself (2, 3.2, 3.5, 6) -> ENDED
 *	ENDED          DONE or FAILED was returned
 *
 * What the driver does:
 * - RESOLVE_WELL_KNOWN: wait question.wait_ms, then GET https://host:port/path with certificate and
 *   SNI for host (an IP literal: none, iPAddress name), Host: host[:port unless 443]. It resolves
 *   host itself (A and AAAA), passes every address through address_check_ip() with the same policy
 *   and refuses the host with ERR_BLOCKED if one is bad, and connects only to checked addresses.
 *   The body limit is WELL_KNOWN_BODY_MAX, 5 to 10 s are enough. Redirects are not followed by the driver.
 * - RESOLVE_SRV: one SRV question.  RESOLVE_ADDRESS: A and AAAA at once, merged by
 *   resolve_merge(). CNAME chains are the business of the DNS layer.
 * - A deadline of the whole run: resolve_give_up().
 * Answers for nothing that was asked cannot occur; after ENDED every answer is ignored.
 *
 * Absence and failure never mix: SERVFAIL and timeouts end the run with a temporary failure (or with
 * the earlier answer) and never make it fall to the next step.
 *
 * Pure: no I/O, no clock, no allocation; about 9 KB. The caller owns struct resolve; names and
 * bodies are borrowed during the call only.
 */
#ifndef FED_RESOLVE_H
#define FED_RESOLVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "codec/http/head.h"
#include "codec/http/location.h"
#include "codec/matrix/server_name.h"
#include "fed/address.h"
#include "fed/resolution.h"

enum {
	RESOLVE_TARGETS_MAX = 8, /* SRV records followed; the worst beyond are left out */
	RESOLVE_REDIRECTS_MAX = 5,
	RESOLVE_ATTEMPTS_MAX = 3, /* of .well-known, when a valid answer was known recently */
	RESOLVE_RETRY_MS = 500,
	RESOLVE_PATH_MAX = LOCATION_PATH_MAX,
	RESOLVE_PER_NAME_MAX = 8, /* addresses used of one name */
	RESOLVE_STEPS_MAX = 40,
	RESOLVE_TEXT_MAX = 2048, /* of all steps together */
	RESOLVE_HTTPS_PORT = 443,
};

enum resolve_need {
	RESOLVE_WELL_KNOWN,
	RESOLVE_SRV,
	RESOLVE_ADDRESS,
	RESOLVE_DONE,
	RESOLVE_FAILED
};

/* What to fetch next. */
struct resolve_question {
	char name[SERVER_NAME_HOST_MAX + 1]; /* host, or the owner name of records; no brackets */
	enum host_kind kind; /* WELL_KNOWN: an IP literal comes from a redirect only */
	uint16_t       port; /* WELL_KNOWN */
	char           path[RESOLVE_PATH_MAX + 1]; /* WELL_KNOWN: request target, path and query */
	msec           wait_ms;                    /* WELL_KNOWN: ask after this pause, usually 0 */
};

enum resolve_outcome {
	RESOLVE_FOUND,   /* records; or a response, whatever its status */
	RESOLVE_NO_DATA, /* the name exists, this type does not */
	RESOLVE_NO_NAME, /* NXDOMAIN */
	RESOLVE_ERROR,   /* nothing was learnt; error says why */
};

struct resolve_srv {
	uint16_t   priority, weight, port;
	struct str target; /* without final dot; "" is the root: service absent */
};

struct resolve_answer {
	enum resolve_outcome outcome;
	enum err    error;   /* RESOLVE_ERROR: ERR_DNS, ERR_TIMEOUT, ERR_REFUSED, ERR_BLOCKED ... */
	const char *why;     /* static text about error, e.g. "servfail"; may be NULL */
	uint32_t    ttl_s;   /* SRV, ADDRESS: of the records, or of their absence */
	bool        partial; /* ADDRESS: one family failed: believed for the shortest life */
	size_t      count;   /* SRV, ADDRESS; RESOLVE_FOUND with 0 counts as NO_DATA */
	const struct resolve_srv *srv;
	const struct address     *addresses; /* ports ignored */
	const struct head        *head;      /* WELL_KNOWN: status and fields */
	struct str                body;
};

/*
 * A and AAAA answers as one: addresses alternate, IPv6 first. An error beside records makes the
 * answer partial, an error beside absence stays an error.
 *   room  holds at least 2 * RESOLVE_PER_NAME_MAX addresses; out borrows it
 */
void resolve_merge(const struct resolve_answer *a, const struct resolve_answer *aaaa,
                   struct address *room, struct resolve_answer *out);

/* One line of the reason trail. */
enum resolve_step_kind {
	RESOLVE_STEP_NAME,  /* the server name itself */
	RESOLVE_STEP_CACHE, /* an earlier answer */
	RESOLVE_STEP_WELL_KNOWN,
	RESOLVE_STEP_REDIRECT,
	RESOLVE_STEP_DELEGATION, /* the value of m.server */
	RESOLVE_STEP_SRV,
	RESOLVE_STEP_TARGET, /* one SRV record */
	RESOLVE_STEP_ADDRESS,
	RESOLVE_STEP_RESULT,
};

struct resolve_step {
	enum resolve_step_kind kind;
	const char            *outcome; /* static slug: "found", "no-record", "refused" ... */
	const char            *why;     /* static sentence: what follows from it, or the reason */
	uint16_t               question_at, question_len; /* in text */
	uint16_t               detail_at, detail_len;     /* what was found; may be empty */
};

struct resolve_target {
	uint16_t priority, weight, port;
	char     name[SERVER_NAME_HOST_MAX + 1];
};

enum resolve_state {
	RESOLVE_STATE_WELL_KNOWN,
	RESOLVE_STATE_SRV_FED,
	RESOLVE_STATE_SRV_OLD,
	RESOLVE_STATE_TARGET,
	RESOLVE_STATE_HOST,
	RESOLVE_STATE_ENDED,
};

struct resolve {
	/* for the driver */
	struct resolve_question question;
	struct resolution result; /* DONE: addresses; FAILED: result.error; keep it in both cases */
	struct resolve_step steps[RESOLVE_STEPS_MAX];
	size_t              step_count;

	/* private */
	enum resolve_state           state;
	const struct address_policy *policy;
	struct resolution_random     random;
	bool                         connect;          /* see resolve_begin_connect */
	bool                         asked_well_known; /* its life counts for the result */
	char                         asked[SERVER_NAME_TEXT_MAX + 1];
	char                  host[SERVER_NAME_HOST_MAX + 1]; /* whose records are looked up */
	char                  host_header[SERVER_NAME_TEXT_MAX + 1];
	uint16_t              port;    /* for HOST; CONNECT: wanted of SRV records */
	msec                  life_ms; /* least life of what this run has learnt */
	unsigned              attempts, redirects;
	uint32_t              visited[RESOLVE_REDIRECTS_MAX + 1]; /* hashes of URLs */
	struct resolve_target targets[RESOLVE_TARGETS_MAX];
	size_t                target_count, target_next;
	enum err              target_error; /* of the targets without address: the kindest */
	struct address        found[RESOLUTION_ADDRESSES_MAX];
	size_t                found_count;
	char                  text[RESOLVE_TEXT_MAX];
	size_t                text_len;
};

/*
 * Starts a run.
 *   asked   the whole server name, as the requester wrote it
 *   known   the value of the last run, or NULL; copied
 *   policy  borrowed until the run ends; NULL: nothing allowed
 * A name that does not parse fails at once (ERR_SYNTAX, ERR_RANGE), one that must not be followed
 * too (ERR_BLOCKED); an IP literal is done at once.
 */
enum resolve_need resolve_begin(struct resolve *r, struct str asked, const struct resolution *known,
                                const struct address_policy *policy, struct resolution_random rnd,
                                uint64_t now_unix_ms);

/*
 * For CONNECT host:port, where the homeserver has done discovery itself. Some homeservers name the
 * Matrix host with the port of its SRV record (they overrule its address locally), so: if
 * _matrix-fed._tcp or else _matrix._tcp of host has records with exactly this port, those targets are
 * connected to; otherwise host. Port 443 skips this, being that of .well-known too. host_header and
 * tls_name mean nothing here. Keep these values apart from those of resolve_begin: the same text
 * means something else.
 */
enum resolve_need resolve_begin_connect(struct resolve *r, struct str asked,
                                        const struct resolution     *known,
                                        const struct address_policy *policy,
                                        struct resolution_random rnd, uint64_t now_unix_ms);

/* The answer to r->question. */
enum resolve_need resolve_answer(struct resolve *r, const struct resolve_answer *a,
                                 uint64_t now_unix_ms);

/* Ends a run that takes too long (or is shut down): an earlier answer if usable, else e. */
enum resolve_need resolve_give_up(struct resolve *r, enum err e, uint64_t now_unix_ms);

/* Texts of a step, for printing; peer-chosen bytes are printable ASCII. */
struct str  resolve_step_question(const struct resolve *r, size_t step);
struct str  resolve_step_detail(const struct resolve *r, size_t step);
const char *resolve_step_kind_slug(enum resolve_step_kind k);

#endif
