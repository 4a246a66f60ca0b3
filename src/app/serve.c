#include "app/serve.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/config.h"
#include "app/control.h"
#include "app/desk.h"
#include "app/house.h"
#include "app/sandbox.h"
#include "base/log.h"
#include "base/metrics.h"
#include "store/guard.h"

enum {
	WATCH_MS = 60 * 1000,   /* between looks at the certificate files */
	FAREWELL_MS = 5 * 1000, /* running requests have this long after SIGTERM */
	FAREWELL_LOOK_MS = 50,
	DESCRIPTORS_SPARE = 64, /* store, DNS, control socket, files */
};

struct serve {
	struct config_source source;
	bool                 syslog;
	struct sandbox_user  user; /* name "": stay what we are */
	struct loop         *loop;
	struct house        *house;
	msec                 started_at;
	struct desk         *desk;
	struct control      *control; /* NULL: the settings name none */
	struct deadline      watch, farewell;
	uint64_t             files_stamp; /* of certificates and keys as they were loaded */
	msec                 leave_at;
	bool                 leaving;
};

/* ---- certificate files ---- */

static uint64_t stamp_of(const char *const *paths, size_t count, uint64_t stamp)
{
	for (size_t i = 0; i < count; i++) {
		struct stat st;

		if (stat(paths[i], &st) != 0)
			continue;
		stamp = stamp * 1099511628211u + (uint64_t)st.st_mtim.tv_sec;
		stamp = stamp * 1099511628211u + (uint64_t)st.st_mtim.tv_nsec;
		stamp = stamp * 1099511628211u + (uint64_t)st.st_size + (uint64_t)st.st_ino;
	}
	return stamp;
}

static uint64_t files_stamp(const struct settings *s)
{
	uint64_t stamp = 14695981039346656037u;

	for (size_t i = 0; i < s->domain_count; i++) {
		stamp = stamp_of(s->domains[i].certificates, s->domains[i].certificate_count,
		                 stamp);
		stamp = stamp_of(s->domains[i].keys, s->domains[i].key_count, stamp);
	}
	return stamp;
}

/* ---- configuration ---- */

/* Ceilings above what the process may open would only fail later, and less clearly. */
static void fit_descriptors(struct settings *s)
{
	struct limit_settings *l = &s->limits;
	struct rlimit          r;
	rlim_t                 wanted = DESCRIPTORS_SPARE + 2 * (rlim_t)l->inbound_connections +
		2 * (rlim_t)l->outbound_connections;
	unsigned each;

	if (getrlimit(RLIMIT_NOFILE, &r) != 0)
		return;
	if (r.rlim_cur < r.rlim_max) {
		r.rlim_cur = r.rlim_max < wanted ? r.rlim_max
			: wanted > r.rlim_cur    ? wanted
						 : r.rlim_cur;
		(void)setrlimit(RLIMIT_NOFILE, &r);
		(void)getrlimit(RLIMIT_NOFILE, &r);
	}
	if (r.rlim_cur >= wanted)
		return;
	each = (unsigned)(r.rlim_cur > DESCRIPTORS_SPARE + 16 ? (r.rlim_cur - DESCRIPTORS_SPARE) / 4
	                                                      : 4);
	log_say(LOG_WARN, "serve.descriptors",
	        "this process may open %llu files: connections are limited to %u in and %u out; "
	        "raise the limit (procd: limits nofile) or lower `config limits`",
	        (unsigned long long)r.rlim_cur, each, each);
	l->inbound_connections = each < l->inbound_connections ? each : l->inbound_connections;
	l->outbound_connections = each < l->outbound_connections ? each : l->outbound_connections;
}

/* Diagnostics begin with the file's name; in the system's log with the event's, as all lines there. */
static void say_report(const struct serve *sv, const struct config_report *report)
{
	const char *line = report->warnings;
	size_t      len;

	if (!sv->syslog) {
		if (report->error[0] != '\0')
			fprintf(stderr, "%s\n", report->error);
		fputs(report->warnings, stderr);
		return;
	}
	for (; *line != '\0'; line += len + (line[len] != '\0')) {
		len = strcspn(line, "\n");
		log_say(LOG_WARN, "serve.config", "%.*s", (int)len, line);
	}
	if (report->error[0] != '\0')
		log_say(LOG_ERROR, "serve.config", "%s", report->error);
}

static enum err load(const struct serve *sv, struct settings **out)
{
	struct config_report *report = calloc(1, sizeof(*report));
	enum err              e;

	if (report == NULL)
		return ERR_NOMEM;
	e = config_load(&sv->source, out, report);
	say_report(sv, report);
	free(report);
	if (e == ERR_OK)
		fit_descriptors(*out);
	return e;
}

/* ---- control socket ---- */

/* Opens the one the settings name, unless it is open already. */
static enum err follow_control(struct serve *sv, const char *path)
{
	struct control_options o = { sv->loop, path, desk_commands, sv->desk };
	struct control        *fresh = NULL;
	enum err               e = ERR_OK;

	if (sv->control != NULL && path != NULL && strcmp(control_path(sv->control), path) == 0)
		return ERR_OK;
	if (path != NULL)
		e = control_open(&o, &fresh);
	if (e != ERR_OK) {
		log_say(LOG_ERROR, "serve.control", "control socket %s: %s", path, strerror(errno));
		return e;
	}
	control_close(sv->control);
	sv->control = fresh;
	return ERR_OK;
}

/* A file that is empty or half written says "disabled" as well: nobody closes a door by reloading. */
static enum err reload_house(struct serve *sv, struct settings *s, struct house_fault *fault)
{
	if (s->enabled)
		return house_reload(sv->house, s, fault);
	(void)snprintf(fault->text, sizeof(fault->text),
	               "%s does not say enabled '1' (to stop doorstep, end the process)",
	               sv->source.path);
	return ERR_CONFIG;
}

static void on_reload(void *arg)
{
	struct serve      *sv = arg;
	struct settings   *s = NULL;
	struct house_fault fault = { "" };
	uint64_t           stamp;

	if (sv->leaving)
		return;
	if (load(sv, &s) != ERR_OK) {
		count(COUNT_reloads_refused);
		log_say(LOG_ERROR, "serve.reload",
		        "the configuration is wrong; the running one stays");
		return;
	}
	stamp = files_stamp(s);
	if (reload_house(sv, s, &fault) != ERR_OK) {
		count(COUNT_reloads_refused);
		log_say(LOG_ERROR, "serve.reload", "%s; the running configuration stays",
		        fault.text);
	} else {
		count(COUNT_reloads);
		sv->files_stamp = stamp;
		log_set_level((enum log_level)s->log_level);
		(void)follow_control(sv, s->control);
		log_say(LOG_INFO, "serve.reload", "configuration %s taken over", sv->source.path);
	}
	settings_drop(s);
}

/* Only these: the configuration may be half edited, and nobody asked for it. */
static void renew_certificates(struct serve *sv)
{
	struct house_fault fault = { "" };
	uint64_t           stamp = files_stamp(house_settings(sv->house));

	if (stamp == sv->files_stamp)
		return;
	sv->files_stamp =
		stamp; /* wrong ones are complained of once; the next change is looked at */
	if (house_renew(sv->house, &fault) == ERR_OK)
		log_say(LOG_INFO, "serve.certificates", "changed certificate files taken over");
	else
		log_say(LOG_ERROR, "serve.certificates", "%s; the earlier certificates stay",
		        fault.text);
}

static void on_watch(void *arg)
{
	struct serve *sv = arg;

	house_refresh(sv->house);
	if (!sv->leaving)
		renew_certificates(sv);
	deadline_in(&sv->watch, WATCH_MS);
}

/* ---- leaving ---- */

static void on_farewell(void *arg)
{
	struct serve *sv = arg;

	if (!house_is_empty(sv->house) && loop_now(sv->loop) < sv->leave_at) {
		deadline_in(&sv->farewell, FAREWELL_LOOK_MS);
		return;
	}
	loop_stop(sv->loop);
}

static void on_terminate(void *arg)
{
	struct serve *sv = arg;

	if (sv->leaving) { /* the second time at once */
		loop_stop(sv->loop);
		return;
	}
	sv->leaving = true;
	sv->leave_at = loop_now(sv->loop) + FAREWELL_MS;
	log_say(LOG_INFO, "serve.stop", "finishing what is running");
	house_drain(sv->house);
	on_farewell(sv);
}

/* ---- privileges ---- */

/* What can be read now but not later would be found out at the next reload. */
static void warn_unreadable(const struct serve *sv, const char *path)
{
	if (path != NULL && access(path, R_OK) != 0)
		log_say(LOG_WARN, "serve.user",
		        "'%s' cannot read %s: reloading will fail; change its mode or owner",
		        sv->user.name, path);
}

static enum err on_bound(void *arg, struct house_fault *fault)
{
	struct serve        *sv = arg;
	struct sandbox_fault why = { "" };
	enum err             e;

	if (sv->user.name[0] == '\0')
		return ERR_OK;
	e = sandbox_enter(&sv->user, &why);
	if (e != ERR_OK) {
		(void)snprintf(fault->text, sizeof(fault->text), "%s", why.text);
		return e;
	}
	log_say(LOG_INFO, "serve.user", "ports are open; going on as '%s'", sv->user.name);
	warn_unreadable(sv, sv->source.path);
	warn_unreadable(sv, sv->source.credentials);
	return ERR_OK;
}

static enum err find_user(struct serve *sv, const char *name)
{
	struct sandbox_fault fault = { "" };
	enum err             e = name == NULL ? ERR_OK : sandbox_find(name, &sv->user, &fault);

	if (e != ERR_OK)
		log_say(LOG_ERROR, "serve.start", "--user: %s", fault.text);
	return e;
}

/* ---- course ---- */

static void announce(const struct serve *sv)
{
	const struct settings *s = house_settings(sv->house);

	log_say(LOG_INFO, "serve.ready",
	        "%zu domains, %zu listeners, %zu outbound; memory class %u", s->domain_count,
	        s->listen_count, s->outbound_count, s->limits.memory_class);
}

static enum err run(struct serve *sv, struct settings *s)
{
	struct house_fault  fault = { "" };
	struct loop_signals signals = { on_terminate, on_reload, sv };
	enum err            e;

	sv->started_at = loop_now(sv->loop);
	sv->files_stamp = files_stamp(s);
	e = loop_watch_signals(sv->loop, &signals);
	if (e == ERR_OK)
		e = house_open(sv->loop, s, on_bound, sv, &fault, &sv->house);
	if (e != ERR_OK) {
		loop_unwatch_signals(sv->loop);
		log_say(LOG_ERROR, "serve.start", "%s", fault.text[0] ? fault.text : err_slug(e));
		return e;
	}
	deadline_init(&sv->watch, sv->loop, on_watch, sv);
	deadline_init(&sv->farewell, sv->loop, on_farewell, sv);
	deadline_in(&sv->watch, WATCH_MS);
	e = desk_new(sv->loop, sv->house, sv->started_at, &sv->desk);
	if (e == ERR_OK)
		e = follow_control(sv, s->control);
	if (e == ERR_OK) {
		announce(sv);
		loop_run(sv->loop);
	}
	control_close(sv->control);
	desk_free(sv->desk);
	deadline_clear(&sv->watch);
	deadline_clear(&sv->farewell);
	house_close(sv->house);
	loop_unwatch_signals(sv->loop);
	log_say(LOG_INFO, "serve.stopped", "good night");
	return e;
}

enum err serve_run(const struct serve_options *o)
{
	struct serve     sv = { .source = { .path = o->config, .credentials = o->credentials } };
	struct settings *s = NULL;
	enum err         e;

	sv.syslog = o->syslog;
	if (o->syslog)
		log_to_system();
	e = find_user(&sv, o->user);
	if (e == ERR_OK)
		e = load(&sv, &s);
	if (e != ERR_OK)
		return e;
	log_set_level((enum log_level)s->log_level);
	if (!s->enabled) {
		log_say(LOG_INFO, "serve.disabled", "%s says enabled '0': nothing to do",
		        o->config);
		settings_drop(s);
		return ERR_OK;
	}
	guard_install();
	sv.loop = loop_new();
	e = sv.loop == NULL ? ERR_NOMEM : run(&sv, s);
	settings_drop(s);
	if (sv.loop != NULL)
		loop_free(sv.loop);
	return e;
}
