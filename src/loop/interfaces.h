/*
 * interfaces.h - the addresses of this machine's network interfaces.
 */
#ifndef LOOP_INTERFACES_H
#define LOOP_INTERFACES_H

#include <stddef.h>

#include "base/address.h"

/* Those of every interface that is up, ports 0; at most max. The number written. */
size_t interfaces_addresses(struct address *out, size_t max);

/* Those of one interface. */
size_t interfaces_addresses_of(const char *name, struct address *out, size_t max);

#endif
