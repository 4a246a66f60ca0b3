/*
 * status.h - the one status document: what `doorstep status`, the control socket and whatever comes
 * later (a page, ubus, Prometheus) show.
 *
 * {"v":1,"version":"0.1.0","pid":123,"uptime_s":60,"memory_class":128,
 *  "listeners":[{"section":"federation","at":"[::]:8448"}],
 *  "outbound":[{"section":"lan","mode":"matrix-federation","at":"unix:/run/x.sock"}],
 *  "domains":[{"section":"home","server_name":"example.org","homeserver":"http://...","expose":["federation"],
 *              "certificate_until_unix":n}],
 *  "homeservers":[{"section":"nas","url":"http://...","sleeps":true,
 *                  "state":"asleep","why":"announced","since_ms":60000,"next_look_ms":null,
 *                  "announced":true,"must_stay":null,"stay_ms":0,"can_wake":true,
 *                  "held":0,"probes":7,"packets":0,"packet_error":null}],
 *  "queue":{"kind":"lmdb","waiting":2,"parked":0,"bytes":4096,"bytes_max":8388608,"disk_bytes":n,
 *           "disk_max":n,"oldest_unix_ms":n,"stranded":0,"put":n,"delivered":n,"refused":n,"failed":n,"damaged":n},
 *  "shut":false,
 *  "counters":{name:n}, "causes":{name:{slug:n}}, "gauges":{name:{"used":n,"limit":n,"peak":n}}}
 *
 * certificate_until_unix: when the first of the certificates for its host names ends, null: there is none.
 *
 * Of a homeserver without option sleeps only the first three members are there: nobody watches it. state
 * and why: slugs of fed/awake.h, since_ms: for so long. next_look_ms: until a probe, null: none is
 * planned. must_stay: why it should not be put to sleep now, stay_ms: when to ask again. held: requests
 * that wait for it. packets: magic packets sent, packet_error: of the last one.
 *
 * queue: null if nothing is kept. bytes: of the waiting and parked items, as the quota counts;
 * disk_bytes: of the file. oldest_unix_ms: arrival of the oldest that waits, null: none does. stranded: waiting
 * items that nobody hands over (stranded.h); then stranded_name and stranded_why, of the oldest. put to damaged:
 * items since the start.
 *
 * shut: state_dir is left alone, because doorstep died too often while it opened or read it (store/deaths.h); queue
 * is null then.
 *
 * Of causes only those that have occurred are listed. Nothing in it is secret, but names and addresses
 * of the home network are: it is for the owner.
 */
#ifndef ROLE_STATUS_H
#define ROLE_STATUS_H

#include "base/buf.h"
#include "base/clock.h"
#include "net/tls.h"
#include "role/settings.h"
#include "role/sleeper.h"
#include "store/queue.h"

enum { STATUS_VERSION = 1 };

struct status_source {
	const char              *version;
	uint64_t                 pid;
	msec                     uptime_ms;
	const struct settings   *settings;
	const struct queue      *queue; /* NULL: nothing is kept */
	bool                     is_shut;
	const struct tls_server *tls; /* NULL: nothing listens */
	/* NULL: it is not watched */
	const struct sleeper *(*sleeper)(void *arg, const struct homeserver_settings *hs);
	void *arg;
};

/* Appends the document, one line without newline. ERR_NOMEM.  ERR_LIMIT: of out. */
enum err status_write(const struct status_source *s, struct buf *out);

#endif
