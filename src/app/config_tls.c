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

/* One domain's certificates and the names it is reached by. */
static enum err check_domain(struct loop *loop, const char *path, const struct domain_settings *d,
                             struct config_report *report)
{
	const struct tls_server_files files = { d->certificates, d->certificate_count, d->keys,
		                                d->key_count, 0 };
	struct tls_server            *server = NULL;
	struct tls_fault              fault, warning = { "" };
	enum err                      e = tls_server_load(loop, &files, &server, &fault, &warning);

	if (e != ERR_OK) {
		snprintf(report->error, sizeof(report->error), "%s: domain '%s': %s", path,
		         d->section, fault.text);
		return e;
	}
	if (warning.text[0] != '\0')
		warn(report, "%s: domain '%s': %s\n", path, d->section, warning.text);
	for (size_t i = 0; i < d->host_count; i++)
		if (!tls_server_covers(server, str_of(d->hosts[i])))
			warn(report,
			     "%s: domain '%s': no certificate covers %s: whoever asks for that name here will "
			     "not trust the answer; get one that does, unless another machine answers for it\n",
			     path, d->section, d->hosts[i]);
	tls_server_drop(server);
	return ERR_OK;
}

static enum err check_authorities(struct loop *loop, const char *path, const struct settings *s,
                                  struct config_report *report)
{
	struct tls_client *client = NULL;
	struct tls_fault   fault;
	enum err           e = ERR_OK;

	if (s->outbound_count > 0)
		e = tls_client_load(loop, s->ca_file, 1, &client, &fault);
	if (e != ERR_OK)
		snprintf(report->error, sizeof(report->error), "%s: ca_file: %s", path, fault.text);
	tls_client_drop(client);
	return e;
}

enum err config_check_tls(const char *path, const struct settings *s, struct config_report *report)
{
	struct loop *loop = loop_new();
	enum err     e = ERR_OK;

	if (loop == NULL) {
		snprintf(report->error, sizeof(report->error), "%s: no memory left", path);
		return ERR_NOMEM;
	}
	for (size_t i = 0; i < s->domain_count && e == ERR_OK; i++)
		if (s->domains[i].certificate_count > 0)
			e = check_domain(loop, path, &s->domains[i], report);
	if (e == ERR_OK)
		e = check_authorities(loop, path, s, report);
	loop_free(loop);
	return e;
}
