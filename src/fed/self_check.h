/*
 * self_check.h - can others reach this door? What addresses and DNS answers say about it.
 *
 * Pure: whoever calls has looked at the machine and asked the questions. Sources: RFC 6598 (shared address
 * space of provider NAT), RFC 7335 and RFC 6333 (addresses of DS-Lite), RFC 1918, RFC 4193.
 */
#ifndef FED_SELF_CHECK_H
#define FED_SELF_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/address.h"

/* Who can reach an address. */
enum reach {
	REACH_NOBODY,  /* loopback, link-local, unspecified, multicast: says nothing */
	REACH_PUBLIC,  /* everybody */
	REACH_PRIVATE, /* the own network (RFC 1918, RFC 4193) */
	REACH_SHARED,  /* customers of the provider: 100.64.0.0/10 */
	REACH_DSLITE,  /* this machine's end of a DS-Lite tunnel: 192.0.0.0/29 */
};
enum reach self_check_reach(const struct address *a);

/* The line as a whole. IPv4 decides; public IPv6 beside it is told apart by has_public_v6. */
enum line_kind {
	LINE_NONE,    /* no address of either family */
	LINE_PUBLIC,  /* a public IPv4 address is here */
	LINE_NAT,     /* a private one: another router is in front, and can forward ports */
	LINE_SHARED,  /* the provider's NAT is in front, which nobody can forward through */
	LINE_DSLITE,  /* ditto, by DS-Lite */
	LINE_V6_ONLY, /* public IPv6, and no IPv4 at all */
};

struct line {
	enum line_kind kind;
	bool           has_public_v6;
	struct address v4; /* what decided; family 0: none */
};

/*
 * wan: addresses of the interface with the default route (may be none: then all count).
 * own: those of every interface.
 */
struct line self_check_line(const struct address *wan, size_t wan_count, const struct address *own,
                            size_t own_count);

/* What a name of ours means as it is resolved here. */
enum name_kind {
	NAME_HERE,      /* every address is one of ours, or private (split DNS) and one of ours */
	NAME_ABSENT,    /* no address at all */
	NAME_PRIVATE,   /* only private ones, none of them here */
	NAME_ELSEWHERE, /* public, and none of them is here */
	NAME_MIXED,     /* some are here, others (`stray`) are not */
};

struct name_look {
	enum name_kind kind;
	struct address stray; /* the first one that is not here; family 0: none */
};

struct name_look self_check_name(const struct address *answers, size_t count,
                                 const struct address *own, size_t own_count);

/* Before 2025 no clock of a running doorstep can be right. */
bool self_check_clock_is_set(uint64_t unix_ms);

#endif
