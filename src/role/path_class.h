/*
 * path_class.h - what kind of thing a request path asks for, from one table of prefixes.
 *
 * Source: Matrix specification, Server-Server and Client-Server API paths; the administrative paths
 * of homeservers are reached by no spelling, because the table lists what is allowed and a path
 * must say the same before and after percent-decoding. Pure.
 */
#ifndef ROLE_PATH_CLASS_H
#define ROLE_PATH_CLASS_H

#include "base/str.h"

enum path_class {
	PATH_WELL_KNOWN, /* /.well-known/matrix/ */
	PATH_FEDERATION, /* with server keys, federation media and policy servers */
	PATH_MEDIA,      /* the old media paths */
	PATH_CLIENT,
	PATH_FORBIDDEN, /* everything else, and whatever is spelt deviously */
};

/* path: origin-form, with or without query. */
enum path_class path_class_of(struct str path);
const char     *path_class_slug(enum path_class c);

/* The path of PUT /send of any version? Its bodies may be large. */
bool path_is_send(struct str path);

/* Without the query: for logs. */
struct str path_without_query(struct str path);

#endif
