/*
 * syslog_out.h - the log's lines handed to the system's log, with their level.
 *
 * On a file of its own because <syslog.h> and base/log.h give the same names to different things.
 */
#ifndef BASE_SYSLOG_OUT_H
#define BASE_SYSLOG_OUT_H

void syslog_out_open(void); /* as "doorstep", facility daemon, with the process id */

/* level: enum log_level of base/log.h; text: one line without its end. */
void syslog_out(int level, const char *text);

#endif
