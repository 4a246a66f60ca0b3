/*
 * config_build.h - a checked configuration to the values the roles are told.
 */
#ifndef APP_CONFIG_BUILD_H
#define APP_CONFIG_BUILD_H

#include "app/config_document.h"

/*
 * Fills everything of *out but refs and free; it borrows from the document's arena. Reads the secret
 * and client_extra files and looks for the certificate and key files, in the directory
 * `credentials` unless that is NULL. sections false: nothing but the single sections.
 * ERR_CONFIG: in the report.  ERR_NOMEM.
 */
enum err config_build(const struct config_document *d, const char *credentials, bool sections,
                      struct settings *out);

#endif
