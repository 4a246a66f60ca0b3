/*
 * config_check.h - what the sections of a configuration must be together; all rules in one place.
 */
#ifndef APP_CONFIG_CHECK_H
#define APP_CONFIG_CHECK_H

#include "app/config_document.h"

/* ERR_CONFIG: the first broken rule is in the document's report. Warnings go there too. */
enum err config_check(const struct config_document *d);

#endif
