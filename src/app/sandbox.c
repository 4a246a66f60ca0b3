#include "app/sandbox.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static bool entered;

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static enum err
refuse(struct sandbox_fault *fault, enum err e, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(fault->text, sizeof(fault->text), format, args);
	va_end(args);
	return e;
}

enum err sandbox_find(const char *name, struct sandbox_user *out, struct sandbox_fault *fault)
{
	const struct passwd *p = getpwnam(name);

	if (p == NULL || strlen(name) >= sizeof(out->name))
		return refuse(fault, ERR_NOT_FOUND, "there is no user '%.100s' here: create it",
		              name);
	if (p->pw_uid == 0)
		return refuse(fault, ERR_DENIED,
		              "user '%s' is root: name a user without privileges", name);
	if (geteuid() != 0 && geteuid() != p->pw_uid)
		return refuse(fault, ERR_DENIED,
		              "only root can become '%s': start as root, or leave --user out",
		              name);
	*out = (struct sandbox_user){ .uid = p->pw_uid, .gid = p->pw_gid };
	strcpy(out->name, name);
	return ERR_OK;
}

enum err sandbox_enter(const struct sandbox_user *u, struct sandbox_fault *fault)
{
	bool is_root = geteuid() == 0;

	if (is_root &&
	    (initgroups(u->name, u->gid) != 0 || setgid(u->gid) != 0 || setuid(u->uid) != 0))
		return refuse(fault, ERR_DENIED, "cannot become '%s': %s", u->name,
		              strerror(errno));
	if (setuid(0) == 0 || getuid() != u->uid || geteuid() != u->uid ||
	    (is_root && (getgid() != u->gid || getegid() != u->gid || setgid(0) == 0)))
		return refuse(fault, ERR_DENIED, "privileges could not be given up for '%s'",
		              u->name);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return refuse(fault, ERR_DENIED, "no_new_privs: %s", strerror(errno));
	entered = true;
	return ERR_OK;
}

bool sandbox_entered(void)
{
	return entered;
}
