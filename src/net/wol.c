#include "net/wol.h"

#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "loop/inside.h"

enum err wol_mac_parse(struct str text, struct wol_mac *out)
{
	struct wol_mac mac;
	uint8_t        any = 0;

	if (text.len != WOL_MAC_TEXT_SIZE - 1 || (text.ptr[2] != ':' && text.ptr[2] != '-'))
		return ERR_SYNTAX;
	for (size_t i = 0; i < 6; i++) {
		int hi = str_hex_digit(text.ptr[3 * i]), lo = str_hex_digit(text.ptr[3 * i + 1]);

		if (hi < 0 || lo < 0 || (i < 5 && text.ptr[3 * i + 2] != text.ptr[2]))
			return ERR_SYNTAX;
		mac.byte[i] = (uint8_t)(hi << 4 | lo);
		any |= mac.byte[i];
	}
	if (any == 0 || (mac.byte[0] & 1) != 0)
		return ERR_RANGE;
	*out = mac;
	return ERR_OK;
}

const char *wol_mac_text(const struct wol_mac *mac, char out[WOL_MAC_TEXT_SIZE])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < 6; i++) {
		out[3 * i] = digits[mac->byte[i] >> 4];
		out[3 * i + 1] = digits[mac->byte[i] & 15];
		out[3 * i + 2] = i < 5 ? ':' : '\0';
	}
	return out;
}

void wol_packet(const struct wol_mac *mac, uint8_t out[WOL_PACKET_BYTES])
{
	memset(out, 0xff, 6);
	for (size_t i = 1; i <= 16; i++)
		memcpy(out + 6 * i, mac->byte, 6);
}

/* ---- where to ---- */

/* One address of an interface, in network order. */
struct network {
	enum address_family family;
	const uint8_t      *ip, *mask;
	unsigned            bits; /* of the mask */
};

static unsigned mask_bits(const uint8_t *mask, size_t bytes)
{
	unsigned bits = 0;

	while (bits < 8 * bytes && (mask[bits / 8] >> (7 - bits % 8) & 1) != 0)
		bits++;
	return bits;
}

static bool network_of(const uv_interface_address_t *i, struct network *out)
{
	switch (i->address.address4.sin_family) {
	case AF_INET:
		out->family = ADDRESS_V4;
		out->ip = (const uint8_t *)&i->address.address4.sin_addr;
		out->mask = (const uint8_t *)&i->netmask.netmask4.sin_addr;
		out->bits = mask_bits(out->mask, 4);
		return out->bits <= 30; /* smaller ones have no address for all */
	case AF_INET6:
		out->family = ADDRESS_V6;
		out->ip = (const uint8_t *)&i->address.address6.sin6_addr;
		out->mask = (const uint8_t *)&i->netmask.netmask6.sin6_addr;
		out->bits = mask_bits(out->mask, 16);
		return out->bits < 128;
	default:
		return false;
	}
}

static bool network_holds(const struct network *n, const struct address *a)
{
	uint8_t differs = 0;

	if (n->family != a->family)
		return false;
	for (size_t i = 0; i < address_ip_bytes(a); i++)
		differs |= (uint8_t)((n->ip[i] ^ a->ip[i]) & n->mask[i]);
	return differs == 0;
}

static void network_all(const struct network *n, const char *interface, struct wol_target *out)
{
	static const uint8_t all_nodes[16] = { 0xff, 2, [15] = 1 }; /* RFC 4291, 2.7.1 */

	memset(out, 0, sizeof(*out));
	out->to.family = n->family;
	if (n->family == ADDRESS_V6) {
		memcpy(out->to.ip, all_nodes, sizeof(all_nodes));
		out->scope = if_nametoindex(interface);
		return;
	}
	for (size_t i = 0; i < 4; i++)
		out->to.ip[i] = (uint8_t)(n->ip[i] | (uint8_t)~n->mask[i]);
}

enum err wol_target_near(const struct address *machine, struct wol_target *out)
{
	uv_interface_address_t *list;
	struct network          n;
	unsigned                best = 0;
	int                     count;

	if (uv_interface_addresses(&list, &count) != 0)
		return ERR_IO;
	for (int i = 0; i < count; i++)
		if (network_of(&list[i], &n) && network_holds(&n, machine) && n.bits > best) {
			best = n.bits;
			network_all(&n, list[i].name, out);
		}
	uv_free_interface_addresses(list, count);
	return best > 0 ? ERR_OK : ERR_UNREACHABLE;
}

/* ---- sending ---- */

static enum err send_to(const uint8_t packet[WOL_PACKET_BYTES], const struct wol_target *t,
                        uint16_t port)
{
	struct address          to = t->to;
	struct sockaddr_storage ss;
	socklen_t               len;
	int                     fd, yes = 1;
	enum err                e = ERR_OK;

	to.port = port;
	len = sock_address_out(&to, &ss);
	if (to.family == ADDRESS_V6)
		((struct sockaddr_in6 *)&ss)->sin6_scope_id = t->scope;
	fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return loop_err(-errno);
	if (setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &yes, sizeof(yes)) != 0 ||
	    sendto(fd, packet, WOL_PACKET_BYTES, 0, (struct sockaddr *)&ss, len) < 0)
		e = loop_err(-errno);
	close(fd);
	return e;
}

enum err wol_send(const struct wol_mac *mac, const struct wol_target *t)
{
	uint8_t  packet[WOL_PACKET_BYTES];
	enum err first, second;

	wol_packet(mac, packet);
	if (t->to.port != 0)
		return send_to(packet, t, t->to.port);
	first = send_to(packet, t, 9);
	second = send_to(packet, t, 7);
	return second == ERR_OK ? ERR_OK : first;
}
