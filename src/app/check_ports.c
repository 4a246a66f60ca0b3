/*
 * check_ports.c - are the ports free, or whose are they?
 *
 * Whoever listens on an address is found in /proc/net/tcp and tcp6 by the number of its socket, and by
 * that in the descriptors of all processes, which only root can see.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "app/check.h"
#include "base/procnet.h"

enum { COMMAND_MAX = 64, LINE_MAX_BYTES = 512 };

static const char share_tool[] = "/usr/libexec/doorstep/share-443";

static bool is_any(const struct address *a)
{
	static const uint8_t zero[16];

	return memcmp(a->ip, zero, sizeof(zero)) == 0;
}

/* Would binding one fail while the other listens? */
static bool overlap(const struct address *a, const struct address *b)
{
	return a->port == b->port && a->family == b->family &&
		(is_any(a) || is_any(b) || address_same_ip(a, b));
}

static bool find_in(const char *file, const struct address *at, struct procnet_listener *out)
{
	FILE *f = fopen(file, "re");
	char  line[LINE_MAX_BYTES];
	bool  found = false;

	while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL)
		found = procnet_listener(str_of(line), out) && overlap(at, &out->at);
	if (f != NULL)
		fclose(f);
	return found;
}

/* ---- the process behind a socket ---- */

static bool has_socket(const char *pid, const char *wanted)
{
	char           path[300], target[64];
	DIR           *d;
	struct dirent *en;
	bool           found = false;

	snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	d = opendir(path);
	while (d != NULL && !found && (en = readdir(d)) != NULL) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/%.20s/fd/%.20s", pid, en->d_name);
		n = readlink(path, target, sizeof(target) - 1);
		target[n < 0 ? 0 : n] = '\0';
		found = strcmp(target, wanted) == 0;
	}
	if (d != NULL)
		closedir(d);
	return found;
}

static bool command_of(const char *pid, char out[COMMAND_MAX])
{
	char  path[64];
	FILE *f;
	bool  ok;

	snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
	f = fopen(path, "re");
	ok = f != NULL && fgets(out, COMMAND_MAX, f) != NULL;
	if (f != NULL)
		fclose(f);
	if (ok)
		out[strcspn(out, "\n")] = '\0';
	return ok;
}

/* False: nobody that we can see. */
static bool find_holder(uint64_t inode, char out[COMMAND_MAX])
{
	DIR           *d = opendir("/proc");
	struct dirent *en;
	char           wanted[64];
	bool           found = false;

	snprintf(wanted, sizeof(wanted), "socket:[%" PRIu64 "]", inode);
	while (d != NULL && !found && (en = readdir(d)) != NULL)
		found = en->d_name[0] >= '0' && en->d_name[0] <= '9' &&
			has_socket(en->d_name, wanted) && command_of(en->d_name, out);
	if (d != NULL)
		closedir(d);
	return found;
}

/* ---- what to say ---- */

static void say_uhttpd(struct check *c, const char *where, unsigned port)
{
	if (port == 443 && access(share_tool, X_OK) == 0)
		check_say(
			c, CHECK_PROBLEM, "port",
			"%s is in use by uhttpd (LuCI): '%s enable' moves LuCI to 8443 and can be undone",
			where, share_tool);
	else
		check_say(c, CHECK_PROBLEM, "port",
		          "%s is in use by uhttpd (LuCI): let LuCI listen on another port "
		          "(uhttpd.main.listen_%s), or choose another one here",
		          where, port == 80 ? "http" : "https");
}

static void check_port(struct check *c, const struct address *at)
{
	struct procnet_listener found;
	char                    where[ADDRESS_TEXT_SIZE], holder[COMMAND_MAX];

	address_text(at, where);
	if (!find_in(at->family == ADDRESS_V4 ? "/proc/net/tcp" : "/proc/net/tcp6", at, &found))
		check_say(c, CHECK_OK, "port", "%s is free; doorstep does not run", where);
	else if (!find_holder(found.inode, holder))
		check_say(c, CHECK_WARNING, "port", "%s is in use, run this as root to see by whom",
		          where);
	else if (strcmp(holder, "doorstep") == 0)
		check_say(c, CHECK_OK, "port", "doorstep listens on %s", where);
	else if (strcmp(holder, "uhttpd") == 0)
		say_uhttpd(c, where, at->port);
	else
		check_say(c, CHECK_PROBLEM, "port",
		          "%s is in use by '%s': stop that program, or choose another port", where,
		          holder);
}

/* An outbound port is on an address of this machine. */
static void check_address(struct check *c, const struct address *at, const char *section)
{
	char text[ADDRESS_TEXT_SIZE];
	bool here = is_any(at) || (at->family == ADDRESS_V4 && at->ip[0] == 127);

	for (size_t i = 0; i < c->own_count; i++)
		here = here || address_same_ip(at, &c->own[i]);
	if (!here)
		check_say(
			c, CHECK_PROBLEM, "port",
			"outbound '%s' listens on %s, which this router does not have: write its address "
			"in the home network ('ip address' shows it)",
			section, address_ip_text(at, text));
}

void check_ports(struct check *c)
{
	const struct settings *s = c->settings;

	for (size_t i = 0; i < s->listen_count; i++)
		if (s->listens[i].endpoint.path[0] == '\0')
			check_port(c, &s->listens[i].endpoint.address);
	for (size_t i = 0; i < s->outbound_count; i++) {
		const struct outbound_settings *o = &s->outbounds[i];

		if (o->endpoint.path[0] != '\0')
			continue;
		check_address(c, &o->endpoint.address, o->section);
		check_port(c, &o->endpoint.address);
	}
}
