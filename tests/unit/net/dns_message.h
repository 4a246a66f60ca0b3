/*
 * dns_message.h - building DNS messages for tests, good ones and others.
 */
#ifndef TESTS_UNIT_NET_DNS_MESSAGE_H
#define TESTS_UNIT_NET_DNS_MESSAGE_H

#include <string.h>

#include "base/cursor.h"

enum { T_A = 1, T_NS = 2, T_CNAME = 5, T_SOA = 6, T_TXT = 16, T_AAAA = 28, T_SRV = 33 };
enum { IS_ANSWER = 0x8180, TRUNCATED = 0x0200, NXDOMAIN = 3, SERVFAIL = 2, REFUSED = 5 };

static inline void put16(struct writer *w, unsigned v)
{
	write_char(w, (char)(v >> 8));
	write_char(w, (char)v);
}

static inline void put32(struct writer *w, uint32_t v)
{
	put16(w, v >> 16);
	put16(w, v & 0xffff);
}

static inline void put_name(struct writer *w, const char *name)
{
	while (*name != '\0') {
		size_t len = strcspn(name, ".");

		write_char(w, (char)len);
		write_bytes(w, name, len);
		name += len + (name[len] == '.');
	}
	write_char(w, '\0');
}

static inline void put_head(struct writer *w, unsigned flags, unsigned answers,
                            unsigned authorities)
{
	put16(w, 0x1234);
	put16(w, flags);
	put16(w, 1);
	put16(w, answers);
	put16(w, authorities);
	put16(w, 0);
}

static inline void put_question(struct writer *w, const char *name, unsigned type)
{
	put_name(w, name);
	put16(w, type);
	put16(w, 1);
}

static inline void put_record(struct writer *w, const char *owner, unsigned type, uint32_t ttl,
                              const void *data, size_t len)
{
	put_name(w, owner);
	put16(w, type);
	put16(w, 1);
	put32(w, ttl);
	put16(w, (unsigned)len);
	write_bytes(w, data, len);
}

static inline void put_a(struct writer *w, const char *owner, uint32_t ttl, unsigned last)
{
	const char ip[4] = { (char)192, 0, 2, (char)last };

	put_record(w, owner, T_A, ttl, ip, 4);
}

static inline void put_alias(struct writer *w, const char *owner, uint32_t ttl, const char *target)
{
	char          bytes[256];
	struct writer d = writer_over(bytes, sizeof(bytes));

	put_name(&d, target);
	put_record(w, owner, T_CNAME, ttl, bytes, writer_done(&d).len);
}

static inline void put_srv(struct writer *w, const char *owner, uint32_t ttl, unsigned priority,
                           unsigned weight, unsigned port, const char *target)
{
	char          bytes[300];
	struct writer d = writer_over(bytes, sizeof(bytes));

	put16(&d, priority);
	put16(&d, weight);
	put16(&d, port);
	put_name(&d, target);
	put_record(w, owner, T_SRV, ttl, bytes, writer_done(&d).len);
}

static inline void put_soa(struct writer *w, const char *zone, uint32_t ttl, uint32_t minimum)
{
	char          bytes[256];
	struct writer d = writer_over(bytes, sizeof(bytes));

	put_name(&d, "ns.example");
	put_name(&d, "hostmaster.example");
	for (int i = 0; i < 4; i++)
		put32(&d, 1000);
	put32(&d, minimum);
	put_record(w, zone, T_SOA, ttl, bytes, writer_done(&d).len);
}

#endif
