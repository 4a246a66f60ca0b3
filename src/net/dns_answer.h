/*
 * dns_answer.h - reading a DNS message that answers one question (RFC 1035, 2782, 3596). Pure.
 *
 * We read messages ourselves, because the time to live of every kind of record matters, negative
 * answers included (RFC 2308), and because names must come out byte for byte: only letters, digits,
 * hyphen and underscore are taken, everything else is refused before it is text.
 */
#ifndef NET_DNS_ANSWER_H
#define NET_DNS_ANSWER_H

#include "net/dns.h"

/*
 * What the message says about the records of this type at this name (no final dot). CNAME chains of
 * at most 8 are followed inside the message; records of other owners are ignored. out is
 * always set; whatever is not a proper answer is DNS_FAILED with `why`.
 * A message that has aliases and neither their end nor an SOA record says nothing about the end: then
 * the outcome is DNS_NO_DATA and out->alias the name to ask for next, otherwise "".
 */
void dns_answer_read(struct str message, const char *name, enum dns_type type,
                     struct dns_answer *out);

/* A name that may be asked for: labels of 1..63 of the bytes above, 253 in all, no final dot. */
bool dns_answer_name_ok(struct str name);

/* The number of the type in messages. */
uint16_t dns_answer_type(enum dns_type type);

#endif
