/*
 * qemu_user.c - what user-mode qemu gets wrong (seen with 7.2), put right in front of it.
 *
 * Linked into whatever runs emulated, by the linker's --wrap (doorstep_tests.cmake), so that our code
 * and its libraries stay as they are on a router. On a real kernel nothing here does anything.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/socket.h>

int     __real_pthread_mutexattr_setrobust(pthread_mutexattr_t *attr, int robust);
int     __wrap_pthread_mutexattr_setrobust(pthread_mutexattr_t *attr, int robust);
int     __real_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int     __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
ssize_t __real_recv(int fd, void *bytes, size_t size, int flags);
ssize_t __wrap_recv(int fd, void *bytes, size_t size, int flags);

/* It has no robust lists: locks that LMDB shares between processes do without. */
int __wrap_pthread_mutexattr_setrobust(pthread_mutexattr_t *attr, int robust)
{
	int e = __real_pthread_mutexattr_setrobust(attr, robust);

	return e == ENOSYS ? 0 : e;
}

#if defined(__mips__)
/* The numbers of most machines, which are not those of MIPS. */
static int errno_here(int e)
{
	switch (e) {
	case 101:
		return ENETUNREACH;
	case 104:
		return ECONNRESET;
	case 110:
		return ETIMEDOUT;
	case 111:
		return ECONNREFUSED;
	case 113:
		return EHOSTUNREACH;
	}
	return e;
}
#else
static int errno_here(int e)
{
	return e;
}
#endif

/* SO_ERROR has the number of the machine below. */
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	int r = __real_getsockopt(fd, level, name, value, len);

	if (r == 0 && level == SOL_SOCKET && name == SO_ERROR && *len == sizeof(int))
		*(int *)value = errno_here(*(int *)value);
	return r;
}

/* The first attribute whose length is none is stretched over the rest. */
static void end_attributes(struct nlmsghdr *message)
{
	struct rtattr *a =
		(struct rtattr *)((char *)message + NLMSG_SPACE(sizeof(struct ifinfomsg)));
	size_t left = message->nlmsg_len - NLMSG_SPACE(sizeof(struct ifinfomsg));

	while (left >= sizeof(*a)) {
		size_t step = RTA_ALIGN((size_t)a->rta_len);

		if (a->rta_len < sizeof(*a) || step > left) {
			a->rta_len = (unsigned short)left;
			return;
		}
		a = (struct rtattr *)((char *)a + step);
		left -= step;
	}
}

/* Attributes of interfaces that it does not know keep the byte order of the machine below. */
ssize_t __wrap_recv(int fd, void *bytes, size_t size, int flags)
{
	ssize_t   n = __real_recv(fd, bytes, size, flags);
	int       domain;
	socklen_t len = sizeof(domain);

	if (n < 0 || __real_getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) != 0 ||
	    domain != AF_NETLINK)
		return n;
	for (size_t at = 0; at + sizeof(struct nlmsghdr) <= (size_t)n;) {
		struct nlmsghdr *message = (struct nlmsghdr *)((char *)bytes + at);

		if (message->nlmsg_len < sizeof(*message) || message->nlmsg_len > (size_t)n - at)
			break;
		if (message->nlmsg_type == RTM_NEWLINK &&
		    message->nlmsg_len > NLMSG_SPACE(sizeof(struct ifinfomsg)))
			end_attributes(message);
		at += NLMSG_ALIGN(message->nlmsg_len);
	}
	return n;
}
