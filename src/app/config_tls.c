#include "app/config_tls.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "loop/loop.h"
#include "net/tls.h"

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static void
warn(struct config_report *report, const char *format, ...)
{
	size_t  used = strlen(report->warnings), left = sizeof(report->warnings) - used;
	va_list args;

	if (left < 512)
		return;
	va_start(args, format);
	vsnprintf(report->warnings + used, left, format, args);
	va_end(args);
}

/* What is being checked, and where it is told. */
struct tls_check {
	struct loop           *loop;
	const char            *path;
	const struct settings *settings;
	struct config_report  *report;
};

static void check_names(const struct tls_check *t, const struct domain_settings *d,
                        const struct tls_server *server)
{
	char place[CONFIG_PLACE_MAX];

	for (size_t i = 0; i < d->host_count; i++)
		if (!tls_server_covers(server, str_of(d->hosts[i])))
			warn(t->report,
			     "%s%s: no certificate of domain '%s' covers %s: whoever asks for that name here "
			     "will not trust the answer; get one that does, unless another machine answers for "
			     "it\n",
			     t->path, config_credential_place(t->settings, d, "", place),
			     d->section, d->hosts[i]);
}

/* One domain's certificates and the names it is reached by. */
static enum err check_domain(const struct tls_check *t, const struct domain_settings *d)
{
	const struct tls_server_files files = { d->certificates, d->certificate_count, d->keys,
		                                d->key_count, 0 };
	struct tls_server            *server = NULL;
	struct tls_fault              fault, warning = { "" };
	char                          place[CONFIG_PLACE_MAX];
	enum err e = tls_server_load(t->loop, &files, &server, &fault, &warning);

	if (e != ERR_OK) {
		snprintf(t->report->error, sizeof(t->report->error), "%s%s: %s", t->path,
		         config_credential_place(t->settings, d, fault.text, place), fault.text);
		return e;
	}
	if (warning.text[0] != '\0')
		warn(t->report, "%s%s: %s\n", t->path,
		     config_credential_place(t->settings, d, warning.text, place), warning.text);
	check_names(t, d, server);
	tls_server_drop(server);
	return ERR_OK;
}

static enum err check_authorities(const struct tls_check *t)
{
	struct tls_client *client = NULL;
	struct tls_fault   fault;
	enum err           e = ERR_OK;

	if (t->settings->outbound_count > 0)
		e = tls_client_load(t->loop, t->settings->ca_file, 1, &client, &fault);
	if (e != ERR_OK)
		snprintf(t->report->error, sizeof(t->report->error), "%s: ca_file: %s", t->path,
		         fault.text);
	tls_client_drop(client);
	return e;
}

enum err config_check_tls(const char *path, const struct settings *s, struct config_report *report)
{
	const struct tls_check t = { loop_new(), path, s, report };
	enum err               e = ERR_OK;

	if (t.loop == NULL) {
		snprintf(report->error, sizeof(report->error), "%s: no memory left", path);
		return ERR_NOMEM;
	}
	for (size_t i = 0; i < s->domain_count && e == ERR_OK; i++)
		if (s->domains[i].certificate_count > 0)
			e = check_domain(&t, &s->domains[i]);
	if (e == ERR_OK)
		e = check_authorities(&t);
	loop_free(t.loop);
	return e;
}
