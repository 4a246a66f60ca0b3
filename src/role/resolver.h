/*
 * resolver.h - server discovery as a service: runs the machine of fed/resolve against real DNS and
 * real .well-known files, merges lookups of the same name, remembers results.
 *
 * A name that is known and fresh costs nothing; one in the last part of its life is used and looked up
 * again in the background; an unknown one is looked up once, however many wait for it.
 */
#ifndef ROLE_RESOLVER_H
#define ROLE_RESOLVER_H

#include "fed/resolve.h"
#include "net/dns.h"
#include "net/http_client.h"

struct resolver;

/* Where results outlive the process; either may be NULL. */
struct resolver_store {
	/* False: unknown. bytes: at most RESOLUTION_BYTES_MAX. */
	bool (*load)(void *arg, struct str name, char *bytes, size_t *len);
	void (*save)(void *arg, struct str name, struct str bytes, uint64_t until_unix_ms);
	void *arg;
};

struct resolver_options {
	struct loop                 *loop;
	struct dns                  *dns;
	struct tls_client           *tls;        /* kept; NULL: .well-known cannot be fetched */
	struct limit                *handshakes; /* may be NULL */
	const struct address_policy *policy;     /* borrowed */
	struct resolver_store        store;
	size_t                       names_max;   /* remembered in memory */
	msec                         deadline_ms; /* of one lookup */
	msec                         fetch_ms;    /* of one .well-known request; 0: 5 s */
};

enum err resolver_new(const struct resolver_options *o, struct resolver **out);
void     resolver_free(struct resolver *rv); /* waiting lookups must have been cancelled */
void     resolver_forget(
	    struct resolver *rv); /* after a change of policy or authorities: what is in memory */
/* For a reload. */
void resolver_set(struct resolver *rv, struct tls_client *tls, struct dns *dns);

/* What is known and fresh, or NULL. May start a lookup in the background. Valid until the loop turns. */
const struct resolution *resolver_known(struct resolver *rv, struct str server_name);

enum resolve_how {
	RESOLVE_FOR_FEDERATION, /* the whole algorithm */
	RESOLVE_FOR_CONNECT,    /* host:port of a CONNECT request; not remembered */
};

/* Operation: one wait for a lookup. run: the finished machine, result and steps in it. */
struct lookup;
typedef void lookup_done_fn(void *arg, const struct resolve *run);

enum err lookup_start(struct lookup **slot, struct resolver *rv, struct str server_name,
                      enum resolve_how how, lookup_done_fn *done, void *arg);
void     lookup_cancel(struct lookup **slot); /* the lookup itself goes on, for the memory */

#endif
