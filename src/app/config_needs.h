/*
 * config_needs.h - what a configuration needs of the system around the process, for the script that starts it.
 *
 * Lines "word value" in a fixed order of words, so that a shell reads them without understanding UCI:
 *
 *   enabled 0|1             of config doorstep; the rest follows either way
 *   state DIR, control PATH, authorities PATH (ca_file)
 *   resolver PATH           the system's resolver configuration, when there is no option dns
 *   credential PATH         each certificate, key and secret file, in the order of the file
 *   read PATH               other files that the process reads itself
 *   socket PATH             unix sockets that it makes for homeservers
 *   port NUMBER             public TLS ports, each once
 *   sleeps 1                deliveries are kept for some homeserver
 *   jail 0|1, open_firewall 0|1, interface NAME    of config openwrt
 */
#ifndef APP_CONFIG_NEEDS_H
#define APP_CONFIG_NEEDS_H

#include <stdio.h>

#include "app/config_document.h"

void config_needs(const struct config_document *d, FILE *out);

#endif
