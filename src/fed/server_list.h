/*
 * server_list.h - is a server on an owner's list?
 *
 * An entry is a server name, or "*." and a suffix for every host below it (not the suffix itself).
 * Hosts are compared without regard to ASCII case and to a dot at the end, because both would lead to the
 * same machine; an entry without port means every port, one with a port only that one. Pure.
 *
 * Matrix compares server names byte for byte, so one machine may go by several spellings of its name. A
 * list that denies must catch them all, and one that allows loses nothing by it: whoever asks must
 * still sign with the keys of the spelling it claims.
 */
#ifndef FED_SERVER_LIST_H
#define FED_SERVER_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

/* entries may be NULL when count is 0. A name that is no server name is compared as a whole. */
bool server_list_has(const char *const *entries, size_t count, struct str name);

#endif
