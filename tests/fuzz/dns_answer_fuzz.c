/*
 * DNS messages: what is taken from them is bounded, and names are names.
 *
 * Input: a byte for the type, the name asked for, a line feed, the message.
 */
#include <stdint.h>
#include <string.h>

#include "net/dns_answer.h"
#include "support/exact.h"

static void check_found(const struct dns_answer *a, enum dns_type type)
{
	check(a->count > 0 && a->count <= DNS_RECORDS_MAX);
	for (size_t i = 0; i < a->count; i++) {
		struct str target;

		if (type != DNS_SRV) {
			check(a->records.address[i].port == 0);
			check(a->records.address[i].family ==
			      (type == DNS_A ? ADDRESS_V4 : ADDRESS_V6));
			continue;
		}
		target = str_of(a->records.srv[i].target);
		check(target.len == 0 || dns_answer_name_ok(target));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str        in = str_span(data, size), asked, message;
	struct dns_answer a;
	struct exact      x;
	enum dns_type     type;
	char              name[DNS_NAME_MAX];

	if (size < 2)
		return 0;
	type = (enum dns_type)(data[0] % 3);
	in = str_from(in, 1);
	asked = str_head(in, str_find(in, '\n'));
	if (!dns_answer_name_ok(asked) || !str_copy(asked, name, sizeof(name)))
		return 0;
	message = exact_copy(&x, str_from(in, asked.len + 1));
	dns_answer_read(message, name, type, &a);
	exact_free(&x);
	if (a.outcome == DNS_FOUND)
		check_found(&a, type);
	else
		check(a.count == 0);
	check((a.outcome == DNS_FAILED) == (a.why != NULL));
	return 0;
}
