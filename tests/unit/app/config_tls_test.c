#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "app/config_tls.h"

#define FIXTURE "config_tls_files"

static int make_files(void **state)
{
	(void)state;
	return system(
		"mkdir -p " FIXTURE " && cd " FIXTURE " && { [ -e b.key ] || {"
		" openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650"
		" -keyout a.key -out a.pem -subj /CN=x"
		" -addext subjectAltName=DNS:example.org,DNS:*.example.org 2>openssl.log &&"
		" openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650"
		" -keyout b.key -out b.pem -subj /CN=x"
		" -addext subjectAltName=DNS:example.net 2>>openssl.log; }; }");
}

#define HEAD "config doorstep\n\toption enabled '1'\n\toption ca_file '" FIXTURE "/a.pem'\n"
#define A    "\tlist certificate '" FIXTURE "/a.pem'\n"
#define AKEY "\tlist key '" FIXTURE "/a.key'\n"
#define B    "\tlist certificate '" FIXTURE "/b.pem'\n"
#define BKEY "\tlist key '" FIXTURE "/b.key'\n"
#define ORG  HEAD "config listen\nconfig domain 'home'\n\toption server_name 'example.org'\n"

static const struct row {
	const char *text;
	enum err    want;
	const char *error, *warning;
} rows[] = {
	{ ORG A AKEY, ERR_OK, "", "" },
	{ ORG A BKEY B AKEY, ERR_OK, "", "" }, /* pairs are found by matching */
	{ ORG A AKEY "\toption delegate 'm.example.org:8448'\n", ERR_OK, "", "" },
	{ ORG A BKEY, ERR_CERTIFICATE, "F:8:11: ", "" },
	{ ORG A AKEY BKEY, ERR_CERTIFICATE, "F:9:11: ", "" },
	{ ORG A B AKEY, ERR_CERTIFICATE, "F:8:19: ", "" },
	{ ORG "\tlist certificate '" FIXTURE "/a.key'\n" AKEY, ERR_SYNTAX, "F:7:19: ", "" },
	{ ORG A "\tlist key '" FIXTURE "/b.pem'\n", ERR_SYNTAX, "F:8:11: ", "" },
	{ ORG B BKEY, ERR_OK, "", "F:6:21: no certificate of domain 'home' covers example.org" },
	{ ORG A AKEY "\toption client_url 'https://a.b.example.org'\n", ERR_OK, "",
	  "no certificate of domain 'home' covers a.b.example.org" },
	{ ORG A AKEY "config outbound\n\toption listen 'unix:/x'\n", ERR_OK, "", "" },
	{ "config doorstep\n\toption enabled '1'\n\toption ca_file '" FIXTURE "/a.key'\n"
	  "config outbound\n\toption listen 'unix:/x'\n",
	  ERR_SYNTAX, "F: ca_file: ", "" },
};

static void checks(void **state)
{
	const struct config_source source = { .path = "F" };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct config_report report;
		struct settings     *s = NULL;

		print_message("  row %zu\n", i);
		if (config_read(&source, str_of(rows[i].text), &s, &report) != ERR_OK)
			fail_msg("%s", report.error);
		assert_int_equal(config_check_tls("F", s, &report), rows[i].want);
		assert_true((report.error[0] == '\0') == (rows[i].want == ERR_OK));
		if (strncmp(report.error, rows[i].error, strlen(rows[i].error)) != 0)
			fail_msg("%s", report.error);
		if (strstr(report.warnings, rows[i].warning) == NULL)
			fail_msg("%s", report.warnings);
		assert_true((report.warnings[0] == '\0') == (rows[i].warning[0] == '\0'));
		settings_drop(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checks),
	};

	return cmocka_run_group_tests(tests, make_files, NULL);
}
