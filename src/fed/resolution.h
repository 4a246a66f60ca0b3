/*
 * resolution.h - what is known about how to reach one server name, as a plain value, and for how
 * long it holds.
 *
 * It has two parts with lives of their own: what .well-known said, and the addresses. The value is
 * made by the machine in resolve.h, kept by whoever runs that machine (in memory and, as bytes, on
 * storage), and handed to the next run, which asks again only for what is no longer fresh.
 *
 * A reader's guide to one name:
 *	resolution_is_fresh         use it
 *	  and resolution_wants_refresh  use it, and start a run in the background
 *	otherwise                   start a run with it, wait for that, store its result
 * The address policy may have changed since: see resolution_is_allowed.
 * A run ends with a new value in every case; after a temporary failure that is the old one, kept
 * for a short while (resolution_after_failure).
 *
 * Lives, from the specification ("Resolving server names", 3) and what other servers do: .well-known
 * 24 h +-10 % without cache headers, else 5 min..48 h; a failure 1 h +-10 %, 2 min +-10 % if a valid
 * answer was known up to 2 h past its end; records 60 s..24 h, their absence 60 s..1 h (RFC 2308).
 * All times are wall-clock, because they outlive the process. A clock that was set back makes
 * nothing live longer: what was learnt in the future is not fresh.
 */
#ifndef FED_RESOLUTION_H
#define FED_RESOLUTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/clock.h"
#include "base/cursor.h"
#include "base/err.h"
#include "codec/matrix/server_name.h"
#include "fed/address.h"

enum { RESOLUTION_ADDRESSES_MAX = 16 };

#define RESOLUTION_BYTES_MAX 1280 /* of the written form */

struct resolution {
	/* .well-known of the name; times are 0 when it was never asked */
	char     delegated[SERVER_NAME_TEXT_MAX + 1]; /* m.server as written; "": none */
	uint64_t well_known_at_unix_ms;               /* when that was learnt */
	uint64_t well_known_until_unix_ms;            /* asked again after this */
	uint64_t well_known_known_unix_ms; /* a valid answer counts as recently known until here */

	/* how to connect; only if error is ERR_OK, then count > 0 */
	enum err       error; /* why there is no address */
	bool           stale; /* kept although its life had ended, because asking failed */
	size_t         count;
	struct address addresses[RESOLUTION_ADDRESSES_MAX]; /* with ports, in order of preference */
	char           host_header[SERVER_NAME_TEXT_MAX + 1]; /* Host, and :authority */
	char           tls_name[SERVER_NAME_HOST_MAX + 1];    /* the certificate must carry it */
	bool           tls_name_is_ip; /* no SNI, an iPAddress subject alternative name */

	uint64_t at_unix_ms;     /* when the addresses (or their absence) were learnt */
	uint64_t until_unix_ms;  /* asked again after this: least of all lives involved */
	uint64_t usable_unix_ms; /* after a temporary failure the addresses may serve until here */
};

/* Nothing known: not fresh, no address, error is ERR_NO_RECORD. */
void resolution_init(struct resolution *r);

/* May be used without asking: an answer or a remembered failure. */
bool resolution_is_fresh(const struct resolution *r, uint64_t now_unix_ms);

/* Fresh, but in the last fifth of its life. */
bool resolution_wants_refresh(const struct resolution *r, uint64_t now_unix_ms);

/* Milliseconds of life left, 0 when not fresh. */
msec resolution_fresh_for(const struct resolution *r, uint64_t now_unix_ms);

/*
 * Would every address still pass the address rules? If not, what was remembered is no longer fresh,
 * whatever its times say. A run sees to this itself.
 */
bool resolution_is_allowed(const struct resolution *r, const struct address_policy *policy);

/* Until when any part of it can be of use: storage may drop it then. */
uint64_t resolution_keep_until(const struct resolution *r);

/* The same questions of the .well-known part alone. */
bool resolution_well_known_is_fresh(const struct resolution *r, uint64_t now_unix_ms);
bool resolution_well_known_wants_refresh(const struct resolution *r, uint64_t now_unix_ms);
/* Was a valid answer known recently (end of its life + 2 h)? Then try harder, and fail shorter. */
bool resolution_well_known_was_valid(const struct resolution *r, uint64_t now_unix_ms);

/* A random number 0..below-1; below > 0. From the caller, so that scripts can repeat a run. */
typedef uint32_t resolution_draw_fn(void *arg, uint32_t below);

struct resolution_random {
	resolution_draw_fn *draw;
	void               *arg;
};

/* .well-known named a server; lifetime_ms from cache headers, MS_NEVER when there were none. */
void resolution_well_known_valid(struct resolution *r, struct str delegated, msec lifetime_ms,
                                 uint64_t now_unix_ms, const struct resolution_random *rnd);

enum resolution_fault {
	RESOLUTION_INVALID,   /* an answer, but not a usable one: 404, bad JSON, refused redirect */
	RESOLUTION_TEMPORARY, /* no answer, 5xx: says nothing about the document */
	RESOLUTION_UNKNOWN,   /* not even the name could be looked up: short-lived in any case */
};

/*
 * .well-known failed. After a temporary fault a recently valid answer stays (true: go on with
 * r->delegated); otherwise there is no delegation any more (false).
 */
bool resolution_well_known_failed(struct resolution *r, enum resolution_fault fault,
                                  uint64_t now_unix_ms, const struct resolution_random *rnd);

/* Clamps a record's time to live, or that of its absence. */
msec resolution_record_ms(uint32_t ttl_s);
msec resolution_absence_ms(uint32_t ttl_s);

/*
 * Asking for addresses failed. If e is temporary and r still holds usable addresses for
 * host_header, they are kept for a minute and marked stale: returns ERR_OK. Otherwise r becomes a
 * remembered failure, for life_ms (10 s when e is temporary): returns e.
 */
enum err resolution_after_failure(struct resolution *r, enum err e, struct str host_header,
                                  msec life_ms, uint64_t now_unix_ms);

/* Bytes for storage, with a version in front; at most RESOLUTION_BYTES_MAX. */
void resolution_write(struct writer *w, const struct resolution *r);

/* ERR_SYNTAX: not what this version wrote (damaged, cut, or another version): treat as unknown. */
enum err resolution_read(struct str bytes, struct resolution *out);

#endif
