/*
 * version.h - what this executable is.
 */
#ifndef APP_VERSION_H
#define APP_VERSION_H

const char *version_text(void); /* "0.1.0" */

/* Version, TLS library, features and ceilings compiled in, to standard output. */
void version_print(void);

#endif
