/*
 * config_show.h - printing a configuration with its defaults, and the manual of all options.
 */
#ifndef APP_CONFIG_SHOW_H
#define APP_CONFIG_SHOW_H

#include <stdio.h>

#include "app/config_document.h"

/* UCI text again; what is not in the file is marked by a comment. Secrets are not shown. */
void config_show(const struct config_document *d, FILE *out);

/*
 * {"memory_class":128,"sections":[{"type":"domain","name":"home","options":{...},
 *  "defaults":["expose"]}]}; flags are booleans, plain numbers numbers, lists arrays, all else text.
 */
void config_show_json(const struct config_document *d, FILE *out);

/* The option table as Markdown: what docs/configuration.md holds between its marks. */
void config_manual(FILE *out);

#endif
