/*
 * wol.h - Wake-on-LAN: magic packets for a sleeping machine.
 *
 * A magic packet is six bytes 0xff and the machine's MAC address sixteen times, anywhere in a frame
 * (AMD, "Magic Packet Technology", 1995). It goes out as UDP to the ports by which it is customary, 9 and
 * 7 (discard and echo), and to everybody on the machine's network: a sleeping machine answers no
 * question for its address, so nothing addressed to it alone would leave the router.
 *
 * Nothing is answered and nothing is known of success, so there is nothing to wait for: sending is a
 * plain call that does not block.
 */
#ifndef NET_WOL_H
#define NET_WOL_H

#include <stdint.h>

#include "base/address.h"
#include "base/err.h"
#include "base/str.h"

enum { WOL_PACKET_BYTES = 6 + 16 * 6, WOL_MAC_TEXT_SIZE = 18 };

struct wol_mac {
	uint8_t byte[6];
};

struct wol_target {
	struct address to; /* port 0: 9 and 7 */
	uint32_t scope;    /* the interface's number, for addresses of the link in IPv6; else 0 */
};

/*
 * "00:11:22:33:44:55", also with "-" and in any case.
 * ERR_SYNTAX.  ERR_RANGE: of no single machine (a group's address, or all zero).
 */
enum err    wol_mac_parse(struct str text, struct wol_mac *out);
const char *wol_mac_text(const struct wol_mac *mac, char out[WOL_MAC_TEXT_SIZE]); /* returns out */

void wol_packet(const struct wol_mac *mac, uint8_t out[WOL_PACKET_BYTES]);

/*
 * Where everybody hears it who shares a network with `machine`: the directed broadcast address of
 * the interface whose network holds that address (of several, the smallest network); for IPv6 all
 * nodes of that interface's link.
 * ERR_UNREACHABLE: it is behind another router, or its interface has no broadcast address.
 */
enum err wol_target_near(const struct address *machine, struct wol_target *out);

/*
 * Sends it once (to each port). ERR_OK: it left, at one port at least. ERR_DENIED, ERR_UNREACHABLE,
 * ERR_IO ...: it did not.
 */
enum err wol_send(const struct wol_mac *mac, const struct wol_target *t);

#endif
