/*
 * sandbox.h - giving up root, once what needs it is open.
 *
 * For systems that do not start the process as its user themselves (no jail, no capabilities): ports
 * below 1024 are bound as root, then everything of root is given up for good, before a single byte of
 * a stranger is read. Nothing is kept: a reload cannot open another such port, and says so.
 */
#ifndef APP_SANDBOX_H
#define APP_SANDBOX_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

struct sandbox_user {
	char  name[64];
	uid_t uid;
	gid_t gid;
};

struct sandbox_fault {
	char text[256];
};

/*
 * ERR_NOT_FOUND: no such user.  ERR_DENIED: root himself, or we are neither root nor that user.
 * fault says what to do.
 */
enum err sandbox_find(const char *name, struct sandbox_user *out, struct sandbox_fault *fault);

/*
 * User, group and all supplementary groups (those of the user instead), no new privileges by exec
 * (PR_SET_NO_NEW_PRIVS). Checks that there is no way back. ERR_DENIED: the process must end.
 */
enum err sandbox_enter(const struct sandbox_user *u, struct sandbox_fault *fault);

bool sandbox_entered(void);

#endif
