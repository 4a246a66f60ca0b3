/*
 * status.h - the one status document: what `doorstep status`, the control socket and whatever comes
 * later (a page, ubus, Prometheus) show.
 *
 * {"v":1,"version":"0.1.0","pid":123,"uptime_s":60,"memory_class":128,
 *  "listeners":[{"section":"federation","at":"[::]:8448"}],
 *  "outbound":[{"section":"lan","mode":"matrix-federation","at":"unix:/run/x.sock"}],
 *  "domains":[{"section":"home","server_name":"example.org","homeserver":"http://...","expose":["federation"]}],
 *  "counters":{name:n}, "causes":{name:{slug:n}}, "gauges":{name:{"used":n,"limit":n,"peak":n}}}
 *
 * Of causes only those that have occurred are listed. Nothing in it is secret, but names and addresses
 * of the home network are: it is for the owner.
 */
#ifndef ROLE_STATUS_H
#define ROLE_STATUS_H

#include "base/buf.h"
#include "base/clock.h"
#include "role/settings.h"

enum { STATUS_VERSION = 1 };

struct status_source {
	const char            *version;
	uint64_t               pid;
	msec                   uptime_ms;
	const struct settings *settings;
};

/* Appends the document, one line without newline. ERR_NOMEM.  ERR_LIMIT: of out. */
enum err status_write(const struct status_source *s, struct buf *out);

#endif
