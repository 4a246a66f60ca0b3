/*
 * procnet.h - the lines of Linux's /proc/net/tcp, tcp6 and route.
 *
 * Source: Documentation/networking/proc_net_tcp.rst of the kernel; route: net/ipv4/fib_trie.c
 * (fib_route_seq_show). Addresses are words of the machine's own byte order, in hexadecimal. Pure.
 */
#ifndef BASE_PROCNET_H
#define BASE_PROCNET_H

#include "base/address.h"

struct procnet_listener {
	struct address at;
	uint64_t       inode; /* of the socket, as /proc/PID/fd names it */
};

/* False: the line is no socket that listens (another state, the heading, something else). */
bool procnet_listener(struct str line, struct procnet_listener *out);

enum { PROCNET_NAME_MAX = 16 };

struct procnet_route {
	char     interface[PROCNET_NAME_MAX];
	uint32_t metric;
};

/* False: the line is no default route that is up. */
bool procnet_default_route(struct str line, struct procnet_route *out);

#endif
