/*
 * dns.h - DNS questions on the loop, by c-ares.
 *
 * Raw answers are read by dns_answer.h, because the time to live of every kind of record matters
 * here, negative answers included (RFC 2308). No search domains, no hosts file.
 * Absence and failure never mix: SERVFAIL, REFUSED, malformed and missing answers are failures.
 */
#ifndef NET_DNS_H
#define NET_DNS_H

#include "base/address.h"
#include "loop/loop.h"

struct dns;

/* server: address and port; NULL: the system's resolver configuration. */
enum err dns_new(struct loop *l, const struct address *server, size_t queries_max,
                 struct dns **out);
void     dns_free(struct dns *d); /* no query may be running */

enum dns_type { DNS_A, DNS_AAAA, DNS_SRV };

enum dns_outcome {
	DNS_FOUND,
	DNS_NO_DATA, /* the name exists, this type does not */
	DNS_NO_NAME, /* NXDOMAIN */
	DNS_FAILED,  /* nothing was learnt */
};

enum { DNS_RECORDS_MAX = 16, DNS_NAME_MAX = 256 };

struct dns_srv {
	uint16_t priority, weight, port;
	char     target[DNS_NAME_MAX]; /* without final dot; "" for the root, "service absent" */
};

struct dns_answer {
	enum dns_outcome outcome;
	uint32_t         ttl_s; /* least of the chain; of the SOA rule when negative (0 if none) */
	size_t           count; /* beyond DNS_RECORDS_MAX records are left out: of SRV the worst */
	union {
		struct address address[DNS_RECORDS_MAX]; /* port 0 */
		struct dns_srv srv[DNS_RECORDS_MAX];
	} records;
	const char *why; /* DNS_FAILED: static text, "servfail", "timeout", "malformed" ... */
	char        alias[DNS_NAME_MAX]; /* for dns.c alone: the name to ask for next */
};

/*
 * Operation. Beyond queries_max questions wait their turn. CNAME chains of at most 8 are followed,
 * also by further questions where the server leaves that to us (one that knows its own zones only).
 * ERR_SYNTAX: not a name that can be asked for.  ERR_BUSY: too many wait already.  ERR_NOMEM.
 */
struct dns_query;
typedef void dns_done_fn(void *arg, const struct dns_answer *a);

enum err dns_query_start(struct dns_query **slot, struct dns *d, const char *name,
                         enum dns_type type, msec deadline_ms, dns_done_fn *done, void *arg);
void     dns_query_cancel(struct dns_query **slot);

#endif
