/*
 * deaths.h - how often the store took the process down with it.
 *
 * What is damaged in a way that no look beforehand finds may kill the process, by a signal out of a mapping or by
 * taking all memory, and whoever supervises it starts it again: for ever. So before something in state_dir
 * is opened one death more is written down, and taken back when it is open; what dies later of a
 * mapping (guard.h) is written down then. After DEATHS_MAX of them the caller should open nothing there, and
 * leave the files as they are.
 *
 * They are counted since the machine was started (its boot_id), so power cuts are none of them. All are forgotten
 * when the process has lived for DEATHS_SOUND_MS with its store, or ends in good order: so starting it again
 * is another try. Noted in state_dir/queue.deaths; where that cannot be written, nothing is counted.
 */
#ifndef STORE_DEATHS_H
#define STORE_DEATHS_H

#include <stdbool.h>

enum {
	DEATHS_MAX = 3,
	DEATHS_SOUND_MS = 5 * 60 * 1000,
};

struct deaths;

/* Makes state_dir if need be. NULL: cannot be counted; then the others do nothing. */
struct deaths *deaths_open(const char *state_dir);
void           deaths_close(struct deaths *d); /* in good order: forgets them */

bool deaths_too_many(const struct deaths *d); /* before this process */

/* Around whatever opens a store: not nested. */
void deaths_opening(struct deaths *d);
void deaths_opened(struct deaths *d);

void deaths_forget(struct deaths *d);

/* As a look from another process. */
bool deaths_too_many_in(const char *state_dir);

#endif
