#include "net/tls_inside.h"

static bool next_name(const mbedtls_x509_sequence **san, int type, struct str *out)
{
	for (; *san != NULL; *san = (*san)->next) {
		if ((*san)->buf.p == NULL || ((*san)->buf.tag & 0x1f) != type)
			continue;
		*out = str_span((*san)->buf.p, (*san)->buf.len);
		*san = (*san)->next;
		return true;
	}
	return false;
}

static const mbedtls_x509_sequence *names_of(const mbedtls_x509_crt *crt)
{
	if (!mbedtls_x509_crt_has_ext_type(crt, MBEDTLS_X509_EXT_SUBJECT_ALT_NAME))
		return NULL;
	return &crt->subject_alt_names;
}

static struct str without_final_dot(struct str name)
{
	return name.len > 1 && name.ptr[name.len - 1] == '.' ? str_head(name, name.len - 1) : name;
}

/* "*.example.org" stands for one label in front of ".example.org", and for nothing else. */
static bool wildcard_covers(struct str pattern, struct str name)
{
	struct str rest;

	if (!str_starts(pattern, STRL("*.")))
		return false;
	rest = str_from(pattern, 2);
	if (str_find(rest, '*') != rest.len || str_find(rest, '.') == rest.len)
		return false; /* "*.*.org", "*.org" */
	return str_find(name, '.') > 0 &&
		str_ieq(str_from(name, str_find(name, '.')), str_from(pattern, 1));
}

bool tls_names_cover_exactly(const mbedtls_x509_crt *crt, struct str name)
{
	const mbedtls_x509_sequence *san = names_of(crt);
	struct str                   one;

	name = without_final_dot(name);
	while (next_name(&san, MBEDTLS_X509_SAN_DNS_NAME, &one)) {
		if (str_ieq(one, name))
			return name.len > 0;
	}
	return false;
}

bool tls_names_cover(const mbedtls_x509_crt *crt, struct str name)
{
	const mbedtls_x509_sequence *san = names_of(crt);
	struct str                   one;

	if (tls_names_cover_exactly(crt, name))
		return true;
	name = without_final_dot(name);
	while (next_name(&san, MBEDTLS_X509_SAN_DNS_NAME, &one)) {
		if (wildcard_covers(one, name))
			return true;
	}
	return false;
}

bool tls_names_cover_ip(const mbedtls_x509_crt *crt, const struct address *a)
{
	const mbedtls_x509_sequence *san = names_of(crt);
	struct str                   one;

	while (next_name(&san, MBEDTLS_X509_SAN_IP_ADDRESS, &one)) {
		if (str_eq(one, str_span(a->ip, address_ip_bytes(a))))
			return true;
	}
	return false;
}

bool tls_names_first(const mbedtls_x509_crt *crt, struct str *out)
{
	const mbedtls_x509_sequence *san = names_of(crt);

	return next_name(&san, MBEDTLS_X509_SAN_DNS_NAME, out);
}
