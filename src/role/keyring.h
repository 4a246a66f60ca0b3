/*
 * keyring.h - the keys of other servers as a service: remembered, fetched when needed, and never more
 * than is good for us, because anybody can claim to be anybody.
 *
 * One normal case. A request says it comes from example.org, signed with ed25519:k1.
 *	not known	fetched from example.org itself, by discovery and TLS (key_fetch.h); the lookups
 *			that ask meanwhile wait for the same fetch
 *	not to be had	a notary is asked, whose answer needs both signatures (fed/server_keys.h)
 *	known		kept in memory; in the cache, too, once a request was verified with them
 *			(keyring_vouch), so that claims alone write nothing to flash
 *	late in life	fetched anew in the background, if ever vouched for
 *
 * What a forged origin costs, at most: a place among KEYRING_FETCHES_MAX fetches (one is kept for
 * origins that were vouched for) for twice ten seconds, KEYRING_CLIENT_FETCHES_MAX of them for one
 * client (an IPv4 address or an IPv6 /64), who also has no more than a burst of KEYRING_CLIENT_BURST
 * and one each KEYRING_CLIENT_PACE_MS after that; then an entry among what failed, where the pause
 * grows from a minute to an hour (five minutes for origins that were vouched for). In memory those that
 * were vouched for give way last.
 * A key id that a known origin does not list is looked for every five minutes at most.
 *
 * Only names that a request itself claims to come from are looked up; never those inside bodies.
 */
#ifndef ROLE_KEYRING_H
#define ROLE_KEYRING_H

#include "base/address.h"
#include "fed/server_keys.h"
#include "role/key_fetch.h"
#include "store/cache.h"

enum {
	KEYRING_FETCHES_MAX = 8,
	KEYRING_FETCHES_RESERVED = 1, /* of these */
	KEYRING_WAITERS_MAX = 8,      /* lookups that wait for one fetch */
	KEYRING_CLIENT_FETCHES_MAX = 2,
	KEYRING_CLIENT_BURST = 60,
	KEYRING_CLIENT_PACE_MS = 1000,
	KEYRING_CLIENTS_MAX = 128, /* remembered for their pace */
	KEYRING_FAILED_MAX = 512,  /* origins */
	KEYRING_NOTARIES_MAX = 4,
};

struct keyring;

struct keyring_options {
	struct loop        *loop;
	struct key_fetcher *fetcher;
	struct cache       *cache; /* NULL: nothing outlives the process */
	size_t bytes_max;          /* of memory for keys that are known; some 200 bytes an origin */
	const struct server_keys_notary *notaries;     /* asked in order; copied */
	size_t                           notary_count; /* 0: no notary is asked */
	/* Is the clock set (by NTP, say)? NULL: it is as soon as it is plausible. */
	bool (*clock_is_set)(void *arg);
	void *arg;
};

enum err keyring_new(const struct keyring_options *o, struct keyring **out);
void     keyring_free(struct keyring *k); /* lookups must have been cancelled; NULL is fine */
/* For a reload. At most KEYRING_NOTARIES_MAX are taken; those without a key are passed over. */
void keyring_set_notaries(struct keyring *k, const struct server_keys_notary *n, size_t count);

/* Time as the keyring sees it, for server_keys_find. */
struct server_keys_clock keyring_clock(const struct keyring *k);

/*
 * Operation: the keys of origin.
 *   key_ids  of which one would do; what is known is not enough if none of them is good
 *   client   who makes us ask; NULL, of no family, loopback or private: nobody whose number is limited (a
 *            proxy in front would otherwise be one client for the whole world)
 * done:
 *   ERR_OK   what origin lists, as far as it can be known now. Whether a key id is among it and good
 *            is told by server_keys_find. keys are valid during the call only.
 *   ERR_BUSY no keys now, by a ceiling of ours or because the clock is not set: try later
 *   others   why asking failed, now or a while ago; err_retryable() tells whether it may end better
 * ERR_NOMEM. ERR_SYNTAX: origin is no server name.
 */
struct key_lookup;
typedef void key_lookup_done_fn(void *arg, enum err e, const struct server_keys *keys);

enum err key_lookup_start(struct key_lookup **slot, struct keyring *k, struct str origin,
                          const struct str *key_ids, size_t count, const struct address *client,
                          key_lookup_done_fn *done, void *arg);
void     key_lookup_cancel(struct key_lookup **slot); /* the fetch itself goes on, for the memory */

/* A request of origin was verified with its keys: they are worth keeping. */
void keyring_vouch(struct keyring *k, struct str origin);

/* Was a request of origin ever verified, as far as is remembered? */
bool keyring_is_vouched(struct keyring *k, struct str origin);

struct keyring_figures {
	size_t known, known_bytes;   /* origins, memory for them */
	size_t vouched;              /* of these, vouched for */
	size_t failed, failed_bytes; /* origins whose keys could not be had */
	size_t fetches, waiting;     /* now */
	size_t clients;              /* remembered for their pace */
};
void keyring_figures(const struct keyring *k, struct keyring_figures *out);

#endif
