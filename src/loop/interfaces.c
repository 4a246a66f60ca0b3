#include "loop/interfaces.h"

#include <string.h>

#include <uv.h>

static void interface_address(const uv_interface_address_t *from, struct address *to)
{
	*to = (struct address){ .port = 0 };
	if (from->address.address4.sin_family == AF_INET) {
		to->family = ADDRESS_V4;
		memcpy(to->ip, &from->address.address4.sin_addr, 4);
	} else {
		to->family = ADDRESS_V6;
		memcpy(to->ip, &from->address.address6.sin6_addr, 16);
	}
}

size_t interfaces_addresses(struct address *out, size_t max)
{
	return interfaces_addresses_of(NULL, out, max);
}

size_t interfaces_addresses_of(const char *name, struct address *out, size_t max)
{
	uv_interface_address_t *list;
	int                     count;
	size_t                  n = 0;

	if (uv_interface_addresses(&list, &count) != 0)
		return 0;
	for (int i = 0; i < count && n < max; i++)
		if (name == NULL || strcmp(list[i].name, name) == 0)
			interface_address(&list[i], &out[n++]);
	uv_free_interface_addresses(list, count);
	return n;
}
