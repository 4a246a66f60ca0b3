#include "app/version.h"

#include <config.h> /* made from Kconfig; in quotes it would be app/config.h */
#include <stdio.h>

#include "net/tls.h"

const char *version_text(void)
{
	return DOORSTEP_VERSION;
}

void version_print(void)
{
	printf("doorstep %s\n", version_text());
	printf("tls: %s\n", tls_library());
#ifdef CONFIG_DOORSTEP_STORE
	printf("store: LMDB\n");
#else
	printf("store: journal\n");
#endif
	printf("connections: %d at most\n", CONFIG_DOORSTEP_MAX_CONNECTIONS);
}
