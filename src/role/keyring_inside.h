/*
 * keyring_inside.h - the parts of the keyring: what is known (keyring_known.c), what failed and who may
 * ask for more (keyring_bounds.c), fetches and lookups (keyring.c). For these files only.
 */
#ifndef ROLE_KEYRING_INSIDE_H
#define ROLE_KEYRING_INSIDE_H

#include "base/list.h"
#include "role/keyring.h"

/* An origin whose keys are remembered. */
struct known {
	struct link link; /* on keyring->vouched or ->strangers, least recently used first */
	uint32_t    hash;
	bool        is_saved;        /* the cache has the same */
	bool        was_asked;       /* by this process, and answered */
	msec        asked_at;        /* then */
	uint64_t    vouched_unix_ms; /* 0: never */
	size_t      name_len, bytes_len;
	char        data[]; /* the name, the written form of its keys */
};

/* An origin whose keys could not be had. */
struct failed {
	struct link link; /* on keyring->failed, least recently used first */
	uint32_t    hash;
	enum err    why;
	msec        pause_ms, until_at;
	size_t      name_len;
	char        name[];
};

/* A client and how many fetches he may still cause. */
struct client {
	struct address prefix;
	msec           used_at, filled_at;
	unsigned       left;
};

struct keyring {
	struct keyring_options    o;
	struct server_keys_notary notaries[KEYRING_NOTARIES_MAX];
	size_t                    notary_count;
	msec                      notary_at[KEYRING_NOTARIES_MAX]; /* not to be asked before */
	struct link               vouched, strangers, failed, asking;
	size_t                    vouched_count, stranger_count, known_bytes;
	size_t                    failed_count, failed_bytes, asking_count;
	struct client             clients[KEYRING_CLIENTS_MAX];
	size_t                    client_count;
	bool                      lacks_clock; /* said */
};

static inline msec keyring_now(const struct keyring *k)
{
	return loop_now(k->o.loop);
}

/* ---- what is known ---- */

struct str keyring_known_name(const struct known *kn);

/* ERR_SYNTAX never, unless memory is damaged. */
enum err keyring_known_keys(const struct known *kn, struct server_keys *out);

/* In memory; in memory or else in the cache. NULL: unknown. */
struct known *keyring_known_find(struct keyring *k, struct str name);
struct known *keyring_known_get(struct keyring *k, struct str name);

/*
 * A new entry, of an origin that has none.
 *   bytes            what server_keys_write made of its keys
 *   vouched_unix_ms  0: never
 * NULL: no room, no memory. Others may have been driven out.
 */
struct known *keyring_known_add(struct keyring *k, struct str name, struct str bytes,
                                uint64_t vouched_unix_ms);
void          keyring_known_drop(struct keyring *k, struct known *kn);
void          keyring_known_save(struct keyring *k, struct known *kn); /* in the cache */

/* ---- what failed ---- */

struct failed *keyring_failed_find(struct keyring *k, struct str name); /* NULL: nothing */
void           keyring_failed_drop(struct keyring *k, struct failed *f);
/* Each failure in a row doubles the pause. */
void keyring_failed_note(struct keyring *k, struct str name, enum err why);

/* ---- clients ---- */

/* The address or network that counts as one. False: client is NULL or of no family. */
bool keyring_client_prefix(const struct address *client, struct address *out);

/* One more fetch for this client? */
bool keyring_client_take(struct keyring *k, const struct address *prefix);

#endif
