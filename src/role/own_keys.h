/*
 * own_keys.h - the homeserver's own server keys, asked for while it is there, to be had while it is not.
 *
 * Others need them to check its events, and what some server happened to ask for last may be of weeks
 * ago: a document counts only for events dated before its valid_until_ts (Matrix specification, room
 * version 5, "Signing key validity period"). So the homeserver is asked itself, a minute after it was
 * found awake and then now and then, but only if what is kept is past the half of its life, which is
 * when homeservers make a new one. What it answers is taken as if somebody had asked.
 */
#ifndef ROLE_OWN_KEYS_H
#define ROLE_OWN_KEYS_H

#include "role/answers.h"
#include "role/settings.h"
#include "role/upstream.h"

enum { OWN_KEYS_FIRST_MS = 60 * 1000, OWN_KEYS_AGAIN_MS = 60 * 60 * 1000 };

struct own_keys;

struct own_keys_options {
	struct loop     *loop;
	struct answers  *answers;  /* borrowed */
	struct upstream *upstream; /* kept */
	/* The server_name number n that this homeserver has; NULL: there are no more. */
	const char *(*name)(void *arg, size_t n);
	void *arg;
};

enum err own_keys_new(const struct own_keys_options *o, struct own_keys **out);
void     own_keys_free(struct own_keys *k); /* NULL is fine */

/* Is it there? Nothing is asked while it is not. */
void own_keys_set(struct own_keys *k, bool is_there);
void own_keys_upstream(struct own_keys *k, struct upstream *u); /* a reload */

#endif
