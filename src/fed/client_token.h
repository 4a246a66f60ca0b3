/*
 * client_token.h - access tokens of clients: where a request carries one, and which answers prove that it
 * is good.
 *
 * Source: Matrix specification, Client-Server API, "Using access tokens" and the "Requires
 * authentication" line of each endpoint. Pure.
 *
 * A token counts as good once the homeserver answered 2xx to a request that nobody is allowed to make
 * without one. Much of the client API needs none (versions, login, registration, profiles, the old media
 * paths), and what a request to it carries as a token means nothing: so the endpoints that count are
 * listed, and whatever is not on the list proves nothing.
 */
#ifndef FED_CLIENT_TOKEN_H
#define FED_CLIENT_TOKEN_H

#include <stdbool.h>

#include "base/arena.h"
#include "codec/http/head.h"

enum { CLIENT_TOKEN_MAX = 4096 };

/*
 * The token of `Authorization: Bearer` or of ?access_token=, percent-decoded.
 *   arena  takes a decoded token; else it borrows from the head
 * False: none, an empty or an overlong one, or more than one: homeservers differ in which they believe.
 */
bool client_token_find(const struct head *h, struct arena *arena, struct str *token);

enum client_token_use {
	CLIENT_TOKEN_PROVES_NOTHING,
	CLIENT_TOKEN_PROVED, /* by a 2xx */
	CLIENT_TOKEN_ENDED,  /* by a 2xx: logged out, or the account is gone */
};

/* What a 2xx to this request means for its token. target: origin-form, with or without query. */
enum client_token_use client_token_use(enum http_method method, struct str target);

#endif
