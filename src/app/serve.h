/*
 * serve.h - the daemon: settings, listeners, roles, signals, from start to clean end.
 */
#ifndef APP_SERVE_H
#define APP_SERVE_H

#include <stdbool.h>

#include "base/err.h"

struct serve_options {
	const char *config;      /* path; read again on SIGHUP */
	const char *credentials; /* directory of certificate, key and secret files, or NULL */
	bool        syslog;      /* log there, not on standard error */
	const char *user;        /* to become once the ports are open, or NULL */
};

/*
 * Runs until SIGTERM or SIGINT. ERR_OK: ended in good order, or the configuration says enabled 0.
 * Otherwise why it could not start; one line about it is on standard error.
 */
enum err serve_run(const struct serve_options *options);

#endif
