#include "loop/socket.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "loop/inside.h"

enum err endpoint_parse(struct str text, struct endpoint *out)
{
	static const struct str unix_scheme = STR("unix:");
	struct endpoint         e = { .path = "" };
	struct str              path;

	if (!str_starts(text, unix_scheme)) {
		if (address_parse(text, &e.address) != ERR_OK)
			return ERR_SYNTAX;
		*out = e;
		return ERR_OK;
	}
	path = str_from(text, unix_scheme.len);
	if (path.len == 0 || path.ptr[0] != '/' || !str_copy(path, e.path, sizeof(e.path)))
		return ERR_SYNTAX;
	*out = e;
	return ERR_OK;
}

socklen_t sock_address_out(const struct address *a, struct sockaddr_storage *out)
{
	struct sockaddr_in  v4 = { .sin_family = AF_INET, .sin_port = htons(a->port) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons(a->port) };

	memset(out, 0, sizeof(*out));
	if (a->family == ADDRESS_V4) {
		memcpy(&v4.sin_addr, a->ip, 4);
		memcpy(out, &v4, sizeof(v4));
		return sizeof(v4);
	}
	memcpy(&v6.sin6_addr, a->ip, 16);
	memcpy(out, &v6, sizeof(v6));
	return sizeof(v6);
}

struct address sock_address_in(const struct sockaddr_storage *ss)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	struct address       a = { .port = 0 };
	struct sockaddr_in   v4;
	struct sockaddr_in6  v6;

	if (ss->ss_family == AF_INET) {
		memcpy(&v4, ss, sizeof(v4));
		a.family = ADDRESS_V4;
		a.port = ntohs(v4.sin_port);
		memcpy(a.ip, &v4.sin_addr, 4);
	} else if (ss->ss_family == AF_INET6) {
		memcpy(&v6, ss, sizeof(v6));
		a.family = ADDRESS_V6;
		a.port = ntohs(v6.sin6_port);
		memcpy(a.ip, &v6.sin6_addr, 16);
	}
	if (a.family == ADDRESS_V6 && memcmp(a.ip, mapped, sizeof(mapped)) == 0)
		return address_v4(a.ip[12], a.ip[13], a.ip[14], a.ip[15], a.port);
	return a;
}
