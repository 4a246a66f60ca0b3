/*
 * config_tls.h - do the certificates of a configuration serve its names?
 */
#ifndef APP_CONFIG_TLS_H
#define APP_CONFIG_TLS_H

#include "app/config.h"

/*
 * Loads every certificate and key without opening a port. A pair that does not match or a file that
 * cannot be read is an error; an expired certificate and a name (server_name, delegate, client_url)
 * that no certificate covers are warnings, because another machine may stand in front.
 * path is how diagnostics begin; s must be of config_load() or config_read(). ERR_CONFIG, ERR_IO, ERR_NOMEM: in the report.
 */
enum err config_check_tls(const char *path, const struct settings *s, struct config_report *report);

#endif
