/*
 * guard.h - the end of a process whose mapped store went away.
 *
 * LMDB reads its file through a shared mapping. When that file is cut by somebody else, or its medium can no
 * longer be read, the access ends in SIGBUS: nothing that a program could go on after. So it says what
 * happened in one line and exits with 1; whoever supervises it starts it again, and then the file is
 * looked at before it is used (env.h).
 */
#ifndef STORE_GUARD_H
#define STORE_GUARD_H

/* For the whole process. */
void guard_install(void);

/*
 * The end is noted, too: this digit is written to fd at that place (deaths.h). A negative fd: no longer. Not
 * while something else could die of a mapping.
 */
void guard_note(int fd, int at, char digit);

#endif
