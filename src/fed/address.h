/*
 * address.h - where outbound federation may connect to: names, ports and addresses.
 *
 * Anybody can make us look a name up by claiming to be it, so nothing that leads into the own
 * network is followed unless the owner allowed the range. The order is: spelling of the name, port,
 * then every address the name resolves to; one bad address refuses the whole name, so that a mixed
 * answer cannot fall through. Whoever connects must connect to the checked address, never to the
 * name again. Sources: the IANA special-purpose address registries (RFC 6890 and successors),
 * RFC 6052 (NAT64), RFC 3056 (6to4), RFC 6761, RFC 6762, RFC 8375, RFC 7686 (names), and the Fetch
 * standard's list of bad ports.
 *
 * The homeserver's own address is configuration and never passes through here.
 * base/address.h is the value type; this file only judges.
 */
#ifndef FED_ADDRESS_H
#define FED_ADDRESS_H

#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/err.h"
#include "base/str.h"

/* All lists are borrowed and must outlive whoever was given the policy. Empty is a good policy. */
struct address_policy {
	const struct cidr    *allow; /* override every address rule */
	size_t                allow_count;
	const struct address *own; /* addresses of this box's interfaces: refused; ports ignored */
	size_t                own_count;
	const struct cidr    *nat64; /* /96 prefixes found on this line, beside 64:ff9b::/96 */
	size_t                nat64_count;
};

/*
 * ERR_OK or ERR_BLOCKED; policy may be NULL (nothing allowed, nothing own). IPv4 inside NAT64
 * addresses is taken out and judged; every other way of writing IPv4 as IPv6 is refused.
 *   why  may be NULL; on ERR_BLOCKED a static text for people, "private network (10.0.0.0/8)"
 */
enum err address_check_ip(const struct address_policy *policy, const struct address *a,
                          const char **why);

/*
 * A DNS name by its spelling. Refused: single labels, localhost, .local, .lan, .home.arpa,
 * .internal, .onion, .localdomain, numeric last labels (also 0x...), more than 253 bytes.
 */
enum err address_check_name(struct str host, const char **why);

/* Ports of other text protocols, and 0. */
enum err address_check_port(uint16_t port, const char **why);

#endif
