/*
 * Server names and addresses: what is accepted is made of the bytes it may be made of, and reads the
 * same when written again.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "codec/matrix/server_name.h"
#include "fed/address.h"

static void write_name(struct writer *w, const struct server_name *n)
{
	write_text(w, n->kind == HOST_IPV6 ? "[" : "");
	write_str(w, n->host);
	write_text(w, n->kind == HOST_IPV6 ? "]" : "");
	if (n->port != 0) {
		write_char(w, ':');
		write_u64(w, n->port);
	}
}

static void check_name(const struct server_name *n)
{
	char               room[SERVER_NAME_TEXT_MAX];
	struct writer      w = writer_over(room, sizeof(room));
	struct server_name again;
	struct address     ip;

	check(n->host.len >= 1 && n->host.len <= SERVER_NAME_HOST_MAX);
	for (size_t i = 0; i < n->host.len; i++) {
		char c = n->host.ptr[i];

		check((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		      c == '.' || c == '-' || (c == ':' && n->kind == HOST_IPV6));
	}
	check((n->kind == HOST_DNS) == (address_parse_ip(n->host, &ip) != ERR_OK));
	write_name(&w, n);
	check(!w.failed);
	check(server_name_parse(writer_done(&w), &again) == ERR_OK);
	check(str_eq(again.host, n->host) && again.kind == n->kind && again.port == n->port);
	(void)address_check_name(n->host, NULL);
}

static void check_address(const struct address *a)
{
	char           room[ADDRESS_TEXT_SIZE];
	struct address again;

	check(address_parse_ip(str_of(address_ip_text(a, room)), &again) == ERR_OK);
	check(address_same_ip(a, &again));
	(void)address_check_ip(NULL, a, NULL);
}

static void check_range(const struct cidr *c)
{
	char          room[ADDRESS_TEXT_SIZE];
	struct writer w = writer_over(room, sizeof(room));
	struct cidr   again;

	address_write_cidr(&w, c);
	check(!w.failed);
	check(address_parse_cidr(writer_done(&w), &again) == ERR_OK);
	check(again.bits == c->bits && address_same_ip(&again.base, &c->base));
	check(address_in_cidr(&c->base, c));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str         text = str_span(data, size);
	struct server_name name;
	struct address     a;
	struct cidr        c;

	if (server_name_parse(text, &name) == ERR_OK)
		check_name(&name);
	if (address_parse_ip(text, &a) == ERR_OK)
		check_address(&a);
	if (address_parse(text, &a) == ERR_OK)
		check_address(&a);
	if (address_parse_cidr(text, &c) == ERR_OK)
		check_range(&c);
	return 0;
}
