#include "base/syslog_out.h"

#include <syslog.h>

/* In the order of enum log_level. */
static const int priorities[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

void syslog_out_open(void)
{
	openlog("doorstep", LOG_PID | LOG_NDELAY, LOG_DAEMON);
}

void syslog_out(int level, const char *text)
{
	syslog(priorities[level & 3], "%s", text);
}
