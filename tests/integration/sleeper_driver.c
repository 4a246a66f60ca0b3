/*
 * sleeper_driver.c - one homeserver's sleep without a door around it, for tests of what goes over the wire.
 *
 * usage: sleeper_driver ADDRESS:PORT MAC [WAKE_ADDRESS]
 *
 * Takes one command a line on standard input and answers each with "ok"; the end of input ends it:
 *
 *	wish KIND       a verified request of that kind wants it awake; "nothing": an unverified one
 *	order           the owner wants it awake
 *	sleeps, wakes   it says so
 *	failed          a request failed
 *
 * Every change of the state is a line "state STATE WHY".
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "role/sleeper.h"

enum { LOOK_MS = 10 };

struct driver {
	struct loop    *loop;
	struct sleeper *sleeper;
	struct deadline look;
	char            line[256];
	size_t          len;
};

static void on_changed(void *arg)
{
	struct driver        *d = arg;
	struct sleeper_status st;

	sleeper_status(d->sleeper, &st);
	printf("state %s %s\n", st.state, st.why);
	fflush(stdout);
}

static enum awake_kind kind_of(const char *text)
{
	unsigned k = 0;

	while (k < AWAKE_KIND_COUNT && strcmp(awake_kind_slug((enum awake_kind)k), text) != 0)
		k++;
	return (enum awake_kind)k;
}

static void obey(struct driver *d, const char *line)
{
	if (strncmp(line, "wish ", 5) == 0)
		sleeper_wish(d->sleeper, kind_of(line + 5));
	else if (strcmp(line, "order") == 0)
		sleeper_order(d->sleeper);
	else if (strcmp(line, "sleeps") == 0)
		sleeper_sleeps(d->sleeper);
	else if (strcmp(line, "wakes") == 0)
		sleeper_wakes(d->sleeper);
	else if (strcmp(line, "failed") == 0)
		sleeper_failed(d->sleeper);
	else
		printf("unknown: ");
	puts("ok");
	fflush(stdout);
}

static void on_look(void *arg)
{
	struct driver *d = arg;
	char          *end;
	ssize_t        n = read(0, d->line + d->len, sizeof(d->line) - 1 - d->len);

	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		loop_stop(d->loop);
		return;
	}
	d->len += n > 0 ? (size_t)n : 0;
	d->line[d->len] = '\0';
	while ((end = strchr(d->line, '\n')) != NULL) {
		*end++ = '\0';
		obey(d, d->line);
		d->len -= (size_t)(end - d->line);
		memmove(d->line, end, d->len + 1);
	}
	deadline_in(&d->look, LOOK_MS);
}

static bool read_arguments(int argc, char **argv, struct homeserver_settings *hs)
{
	if (argc < 3 || argc > 4 || endpoint_parse(str_of(argv[1]), &hs->endpoint) != ERR_OK ||
	    wol_mac_parse(str_of(argv[2]), &hs->wake_mac) != ERR_OK)
		return false;
	return argc == 3 || address_parse_ip(str_of(argv[3]), &hs->wake_address) == ERR_OK;
}

int main(int argc, char **argv)
{
	static const struct limit_settings limits = { .response_head_max = 8192,
		                                      .homeserver_idle_ms = 30000,
		                                      .connect_ms = 3000 };
	struct homeserver_settings         hs = {
			.section = "nas",
			.url = "",
			.host = "nas",
			.connections_max = 4,
			.can_wake = true,
			.wake_on = 1u << AWAKE_MESSAGE | 1u << AWAKE_KEYS,
			.probe_ms = 1000,
	};
	struct driver          d = { .len = 0 };
	struct upstream       *upstream;
	struct sleeper_options o = { .hs = &hs, .changed = on_changed, .arg = &d };

	if (!read_arguments(argc, argv, &hs)) {
		fprintf(stderr, "usage: sleeper_driver ADDRESS:PORT MAC [WAKE_ADDRESS]\n");
		return 2;
	}
	fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
	d.loop = o.loop = loop_new();
	check(d.loop != NULL);
	check(upstream_new(d.loop, &hs, &limits, NULL, NULL, &upstream) == ERR_OK);
	o.upstream = upstream;
	check(sleeper_new(&o, &d.sleeper) == ERR_OK);
	deadline_init(&d.look, d.loop, on_look, &d);
	deadline_in(&d.look, LOOK_MS);
	loop_run(d.loop);
	deadline_clear(&d.look);
	sleeper_free(d.sleeper);
	upstream_drop(upstream);
	loop_free(d.loop);
	return 0;
}
