#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "app/config.h"
#include "app/options.h"
#include "fed/awake.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Sections that tests are made of. Files are relative to a directory of the test's own. */
#define MAIN "config doorstep 'main'\n\toption enabled '1'\n\toption ca_file 'ca.pem'\n"
#define NAS  "config homeserver 'nas'\n\toption url 'http://192.168.1.20:8008'\n"
#define CERT "\tlist certificate 'cert.pem'\n\tlist key 'key.pem'\n"
#define HOME \
	"config domain 'home'\n\toption server_name 'example.org'\n\toption homeserver 'nas'\n" CERT
#define LISTEN "config listen 'federation'\n\toption port '8448'\n"
#define LAN \
	"config outbound 'lan'\n\toption listen '192.168.1.1:8009'\n\toption secret_file 'secret'\n"
#define WHOLE MAIN NAS HOME LISTEN LAN

static char dir[64], start_dir[4096];

static void write_file(const char *name, const char *content, mode_t mode)
{
	FILE *f = fopen(name, "w");

	check(f != NULL);
	fputs(content, f);
	fclose(f);
	check(chmod(name, mode) == 0);
}

static const char *const files[] = { "ca.pem",        "cert.pem",    "key.pem", "secret",
	                             "open",          "empty",       "words",   "pair",
	                             "extra.json",    "list.json",   "huge",    "creds/cert.pem",
	                             "creds/key.pem", "creds/secret" };

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "config_test.XXXXXX");
	if (getcwd(start_dir, sizeof(start_dir)) == NULL || mkdtemp(dir) == NULL || chdir(dir) != 0)
		return 1;
	write_file("ca.pem", "x", 0644);
	write_file("cert.pem", "x", 0644);
	write_file("key.pem", "x", 0600);
	write_file("secret", " \ts3cret\r\n\n", 0600);
	write_file("open", "s3cret", 0644);
	write_file("empty", "\n", 0600);
	write_file("words", "two words\n", 0600);
	write_file("pair", "adam:pass word\n", 0600);
	write_file("extra.json", "{\"org.example\": {\"a\": 1}}\n", 0644);
	write_file("list.json", "[1]\n", 0644);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(files); i++)
		(void)remove(files[i]);
	(void)rmdir("creds");
	return chdir(start_dir) != 0 || rmdir(dir) != 0;
}

static enum err read_text(const char *text, struct settings **out, struct config_report *report)
{
	const struct config_source source = { .path = "F", .memory_kb = 120 << 10 };

	*out = NULL;
	return config_read(&source, str_of(text), out, report);
}

/* A configuration that is right and draws no warning. */
static struct settings *settings_of(const char *text)
{
	struct config_report report;
	struct settings     *s;

	if (read_text(text, &s, &report) != ERR_OK)
		fail_msg("%s", report.error);
	assert_string_equal(report.error, "");
	assert_string_equal(report.warnings, "");
	return s;
}

/* --- refusals --- */

static const struct refusal {
	const char *text;
	const char *error;
} refusals[] = {
	/* grammar */
	{ "config doorstep 'main\n", "F:1:17: EOF with unterminated '" },
	{ MAIN "foo\n", "F:4:1: invalid command" },
	/* unknown things */
	{ "config domian 'x'\n", "F:1:8: unknown section type 'domian'; did you mean 'domain'?" },
	{ "config wireguard 'x'\n", "F:1:8: unknown section type 'wireguard'" },
	{ "config route 'x'\n", "F:1:8: 'config route' is reserved for a later version" },
	{ MAIN "\toption log_levle 'info'\n",
	  "F:4:9: unknown option 'log_levle' in \"config doorstep 'main'\"; did you mean 'log_level'?" },
	{ "config listen\n\toption delegate 'x'\n",
	  "F:2:9: unknown option 'delegate' in \"config listen\"" },
	/* values: place, option, what would be right */
	{ "config doorstep 'main'\n\toption enabled 'maybe'\n",
	  "F:2:17: enabled: 'maybe' is neither 1 nor 0 (yes, on, true, no, off, false are understood too)" },
	{ MAIN "config limits\n\toption head_timeout '10'\n",
	  "F:5:22: head_timeout: '10' is not a time: write a number with its unit ms, s, m or h, as in 10s" },
	{ MAIN "\tlist allow_range '10.0.0.0/8'\n\tlist allow_range '10.0.0.1/8'\n",
	  "F:5:19: allow_range: '10.0.0.1/8' is not a range: the prefix is too long, or address bits are set "
	  "behind it (10.0.0.0/8 is right, 10.0.0.1/8 is not)" },
	{ MAIN "\tlist dns '127.0.0.1:53'\n\tlist dns '127.0.0.1:54'\n",
	  "F:5:11: dns: takes one value, not a list; write 'option dns' once" },
	{ WHOLE "config limits\n\toption inbound_connections '0'\n",
	  "inbound_connections: '0' is out of range: " },
	/* what must be there */
	{ MAIN "config domain 'home'\n",
	  "F:4:8: \"config domain 'home'\" needs an 'option server_name'" },
	{ MAIN "config homeserver 'nas'\n", "needs an 'option url'" },
	{ MAIN LAN NAS "\toption wake_mac '00:11:22:33:44'\n",
	  "wake_mac: '00:11:22:33:44' is not a hardware address" },
	{ MAIN LAN NAS "\toption wake_mac '01:00:5e:00:00:01'\n",
	  "wake_mac: '01:00:5e:00:00:01' is not the address of one network card" },
	{ MAIN LAN NAS "\toption wake_address '192.168.1.255'\n",
	  "wake_address: has no effect without an 'option wake_mac'" },
	{ MAIN LAN "config homeserver 'nas'\n\toption url 'unix:/run/a.sock'\n"
	           "\toption wake_mac '00:11:22:33:44:55'\n",
	  "wake_mac: a homeserver on a unix socket is on this machine" },
	{ MAIN LAN NAS "\toption wake_on 'message invites'\n",
	  "wake_on: 'invites' is not one of: message, to_device, invite, keys, client, join, query, "
	  "history, media, other, none; did you mean 'invite'?" },
	{ MAIN LAN NAS "\toption wake_on '  '\n", "wake_on: '  ' is not one of" },
	{ MAIN LAN NAS "\toption probe_interval '10ms'\n",
	  "probe_interval: '10ms' is out of range" },
	{ MAIN LAN NAS "\toption queue_limit '1K'\n", "queue_limit: '1K' is out of range" },
	{ MAIN "config outbound\n", "F:4:8: \"config outbound\" needs an 'option listen'" },
	/* twice */
	{ MAIN "config doorstep 'second'\n",
	  "F:4:8: there is a 'config doorstep' already (line 1); join them" },
	{ MAIN "config limits 'a'\nconfig limits 'b'\n",
	  "F:5:8: there is a 'config limits' already (line 4)" },
	{ WHOLE "config domain 'two'\n\toption server_name 'EXAMPLE.org'\n" CERT,
	  "server_name: 'EXAMPLE.org' is that of domain 'home' already" },
	/* references */
	{ MAIN HOME, "F:6:20: homeserver: there is no \"config homeserver 'nas'\"" },
	{ MAIN NAS "config domain\n\toption server_name 'example.org'\n\toption homeserver 'naz'\n",
	  "F:8:20: homeserver: there is no \"config homeserver 'naz'\"; did you mean 'nas'?" },
	{ MAIN LAN "\toption homeserver 'nas'\n",
	  "F:7:20: homeserver: there is no \"config homeserver 'nas'\"" },
	/* domains */
	{ MAIN NAS LISTEN "config domain 'home'\n\toption server_name 'example.org'\n",
	  "F:8:8: domain 'home' has no certificate, and ports are opened for it; add 'list certificate' and "
	  "'list key'" },
	{ MAIN "config domain\n\toption server_name 'a.b'\n\tlist certificate 'cert.pem'\n",
	  "F:6:19: certificate: no key belongs to it; add a 'list key' to this domain" },
	{ MAIN "config domain\n\toption server_name 'a.b'\n\tlist key 'key.pem'\n",
	  "F:6:11: key: no certificate belongs to it; add a 'list certificate' to this domain" },
	{ MAIN "config domain\n\toption server_name 'a.b'\n\tlist expose 'client'\n",
	  "F:6:14: expose: there is no homeserver to pass requests to; add an 'option homeserver'" },
	{ MAIN "config domain\n\toption server_name 'a.b'\n\toption client_extra 'extra.json'\n",
	  "F:6:22: client_extra: has no effect without an 'option client_url'" },
	{ MAIN "config domain\n\toption server_name 'a.b'\n\toption client_url 'https://a.b'\n"
	       "\toption client_extra 'list.json'\n",
	  "F:7:22: client_extra: list.json does not hold one JSON object" },
	{ MAIN "config domain\n\toption server_name 'a.b'\n\toption client_url 'https://a.b'\n"
	       "\toption client_extra 'missing.json'\n",
	  "F:7:22: client_extra: cannot read missing.json: No such file or directory" },
	{ MAIN NAS "config homeserver 'two'\n\toption url 'http://192.168.1.21:8008'\n"
	           "config domain 'a'\n\toption server_name 'a.org'\n\toption homeserver 'nas'\n"
	           "\toption delegate 'm.org:443'\n"
	           "config domain 'b'\n\toption server_name 'b.org'\n\toption homeserver 'two'\n"
	           "\toption delegate 'M.org'\n",
	  "F:12:8: domain 'b': requests for m.org belong to domain 'a' already, with another homeserver" },
	/* listening */
	{ MAIN LISTEN,
	  "F:4:8: listening is for domains, and there is none; add a 'config domain'" },
	{ WHOLE "config listen 'b'\n\toption port '8448'\n",
	  "F:17:14: port: port 8448 is taken by \"config listen 'federation'\" already; choose another" },
	{ WHOLE "config listen 'b'\n\toption address '127.0.0.1'\n",
	  "port: port 8448 is taken by" },
	{ WHOLE "config listen 'b'\n\toption address '::'\n", "port: port 8448 is taken by" },
	{ MAIN NAS HOME "config listen 'a'\n\toption address '10.0.0.1'\n"
	                "config listen 'b'\n\toption address '10.0.0.1'\n",
	  "port: port 8448 is taken by \"config listen 'a'\" already" },
	{ WHOLE
	  "config outbound 'b'\n\toption listen '192.168.1.1:8448'\n\toption secret_file 'secret'\n",
	  "listen: port 8448 is taken by \"config listen 'federation'\" already" },
	{ WHOLE
	  "config outbound 'b'\n\toption listen '192.168.1.1:8009'\n\toption secret_file 'secret'\n",
	  "listen: port 8009 is taken by \"config outbound 'lan'\" already" },
	{ MAIN
	  "config outbound 'a'\n\toption listen 'unix:/x'\nconfig outbound 'b'\n\toption listen 'unix:/x'\n",
	  "F:7:16: listen: the socket is that of \"config outbound 'a'\" already" },
	{ MAIN "\toption control '/x'\nconfig outbound 'a'\n\toption listen 'unix:/x'\n",
	  "F:6:16: listen: the socket is the control socket already" },
	/* outbound */
	{ MAIN "config outbound 'lan'\n\toption listen '192.168.1.1:8009'\n",
	  "F:4:8: outbound 'lan' is open to everybody who reaches it; add an 'option secret_file', or listen "
	  "on a unix socket" },
	{ MAIN "config outbound\n\toption listen 'unix:/x'\n\toption secret_file 'missing'\n",
	  "F:6:21: secret_file: cannot read missing: No such file or directory" },
	{ MAIN "config outbound\n\toption listen 'unix:/x'\n\toption secret_file 'empty'\n",
	  "secret_file: the file is empty" },
	{ MAIN "config outbound\n\toption listen 'unix:/x'\n\toption secret_file 'words'\n",
	  "secret_file: the file must hold one word of printable ASCII" },
	{ MAIN
	  "config outbound\n\toption listen 'unix:/x'\n\toption mode 'connect'\n\toption secret_file "
	  "'secret'\n",
	  "secret_file: the file must hold one line user:password" },
	/* files */
	{ MAIN NAS LISTEN
	  "config domain\n\toption server_name 'a.b'\n\tlist certificate 'cert.pem'\n"
	  "\tlist certificate 'none.pem'\n\tlist key 'key.pem'\n",
	  "F:11:19: certificate: cannot read none.pem: No such file or directory" },
	{ MAIN NAS LISTEN
	  "config domain\n\toption server_name 'a.b'\n\tlist certificate 'cert.pem'\n"
	  "\tlist key '.'\n",
	  "F:11:11: key: cannot read .: Is a directory" },
	{ "config doorstep\n\toption enabled '1'\n\toption ca_file 'none.pem'\n" LAN,
	  "F:3:17: ca_file: cannot read none.pem: No such file or directory" },
	/* limits */
	{ MAIN "config limits\n\toption request_line_max '16K'\n\toption request_head_max '8K'\n",
	  "F:5:26: request_line_max: is larger than request_head_max" },
	{ MAIN "config limits\n\toption field_max '12K'\n\toption request_head_max '10K'\n",
	  "field_max: is larger than request_head_max" },
	{ MAIN
	  "config limits\n\toption outbound_per_server '8'\n\toption outbound_connections '4'\n",
	  "F:5:29: outbound_per_server: is larger than outbound_connections (4)" },
	/* policy */
	{ MAIN "config policy\n\toption invites_from 'known'\n", "nobody would ever be known" },
	{ MAIN "config policy\n\toption invites_from 'friends'\n", "invites_from" },
	{ MAIN "config policy\n\tlist allow_server '*.'\n", "allow_server" },
};

static void refuses_with_one_line(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(refusals); i++) {
		struct config_report report;
		struct settings     *s;
		const char          *at;

		print_message("  %s\n", refusals[i].error);
		assert_int_equal(read_text(refusals[i].text, &s, &report), ERR_CONFIG);
		assert_null(s);
		/* what begins with a place must stand at the start */
		at = strstr(report.error, refusals[i].error);
		if (at == NULL || (strncmp(refusals[i].error, "F:", 2) == 0 && at != report.error))
			fail_msg("%s", report.error);
		assert_null(strchr(report.error, '\n'));
	}
}

static const struct refusal warnings[] = {
	{ MAIN,
	  "F:1:8: there is nothing to do: neither a 'config listen' nor a 'config outbound'\n" },
	{ "", "F: there is nothing to do" },
	{ MAIN NAS HOME LAN,
	  "F:6:8: domain 'home' cannot be reached: there is no 'config listen'\n" },
	{ MAIN "config outbound\n\toption listen '0.0.0.0:8009'\n\toption secret_file 'secret'\n",
	  "F:5:16: listen: this is not an address of a home network; the port may be open to the Internet\n" },
	{ MAIN "config outbound\n\toption listen 'unix:/x'\n\toption secret_file 'open'\n",
	  "F:6:21: secret_file: open is open to every user of this machine; chmod 600 it\n" },
};

static void warns(void **state)
{
	const struct config_source source = { .path = "F", .all = true };

	(void)state;
	for (size_t i = 0; i < COUNT(warnings); i++) {
		struct config_report report;
		struct settings     *s = NULL;

		print_message("  %s", warnings[i].error);
		assert_int_equal(config_read(&source, str_of(warnings[i].text), &s, &report),
		                 ERR_OK);
		if (strstr(report.warnings, warnings[i].error) == NULL)
			fail_msg("%s", report.warnings);
		assert_int_equal(report.warnings[strlen(report.warnings) - 1], '\n');
		settings_drop(s);
	}
}

/* --- what is built --- */

static void builds_the_whole(void **state)
{
	struct settings *s = settings_of(
		"config doorstep 'main'\n\toption enabled '1'\n\toption state_dir '/srv/doorstep'\n"
		"\toption control '/run/doorstep.sock'\n\toption log_level 'debug'\n\toption dns '[::1]:5353'\n"
		"\toption ca_file 'ca.pem'\n\toption memory_class '64'\n\toption allow_range '127.0.0.0/8'\n" NAS
			HOME
		"\toption delegate 'Matrix.example.org:8448'\n\toption client_url 'https://m.example.org/x'\n"
		"\toption expose 'media'\n" LISTEN LAN
		"\toption homeserver 'nas'\n\toption connection_limit '7'\n"
		"config policy\n\tlist deny_server 'bad.org'\n\tlist deny_server '*.worse.org'\n");
	const struct domain_settings *d = &s->domains[0];

	(void)state;
	assert_true(s->enabled);
	assert_string_equal(s->state_dir, "/srv/doorstep");
	assert_string_equal(s->control, "/run/doorstep.sock");
	assert_string_equal(s->ca_file, "ca.pem");
	assert_int_equal(s->log_level, 3);
	assert_true(s->has_dns);
	assert_int_equal(s->dns.port, 5353);
	assert_int_equal(s->allow_range_count, 1);
	assert_int_equal(s->allow_ranges[0].bits, 8);
	assert_int_equal(s->deny_servers.count, 2);
	assert_string_equal(s->deny_servers.at[1], "*.worse.org");
	assert_int_equal(s->limits.memory_class, 64);
	assert_int_equal(s->limits.inbound_connections, 64);

	assert_int_equal(s->homeserver_count, 1);
	assert_string_equal(s->homeservers[0].section, "nas");
	assert_true(s->homeservers[0].sleeps); /* there is a state_dir */
	assert_false(s->homeservers[0].tls || s->homeservers[0].host_is_name);
	assert_int_equal(s->homeservers[0].endpoint.address.port, 8008);
	assert_int_equal(s->homeservers[0].port, 8008);

	assert_int_equal(s->domain_count, 1);
	assert_string_equal(d->server_name, "example.org");
	assert_ptr_equal(d->homeserver, &s->homeservers[0]);
	assert_int_equal(d->expose, EXPOSE_MEDIA);
	assert_int_equal(d->host_count, 3);
	assert_string_equal(d->hosts[0], "example.org");
	assert_string_equal(d->hosts[1], "matrix.example.org");
	assert_string_equal(d->hosts[2], "m.example.org");
	assert_string_equal(d->well_known_server, "{\"m.server\":\"Matrix.example.org:8448\"}");
	assert_non_null(strstr(d->well_known_client, "\"base_url\":\"https://m.example.org/x\""));
	assert_null(d->well_known_support);
	assert_int_equal(d->certificate_count, 1);
	assert_string_equal(d->certificates[0], "cert.pem");
	assert_string_equal(d->keys[0], "key.pem");

	assert_int_equal(s->outbound_count, 1);
	assert_int_equal(s->outbounds[0].mode, OUTBOUND_MATRIX_FEDERATION);
	assert_string_equal(s->outbounds[0].secret, "s3cret");
	assert_int_equal(s->outbounds[0].connection_limit, 7);
	assert_ptr_equal(s->outbounds[0].homeserver, &s->homeservers[0]);
	settings_drop(s);
}

static void no_address_means_both_families(void **state)
{
	struct settings *s = settings_of(
		WHOLE "config listen 'six'\n\toption address '::'\n\toption port '443'\n");

	(void)state;
	assert_int_equal(s->listen_count, 3);
	assert_int_equal(s->listens[0].endpoint.address.family, ADDRESS_V4);
	assert_int_equal(s->listens[1].endpoint.address.family, ADDRESS_V6);
	assert_true(s->listens[1].endpoint.v6_only);
	assert_string_equal(s->listens[1].section, "federation");
	assert_true(s->listens[2].endpoint.v6_only);
	assert_int_equal(s->listens[2].endpoint.address.port, 443);
	settings_drop(s);
}

static void the_same_port_on_different_addresses_is_fine(void **state)
{
	(void)state;
	settings_drop(settings_of(MAIN NAS HOME "config listen\n\toption address '10.0.0.1'\n"
	                                        "config listen\n\toption address '10.0.0.2'\n"
	                                        "config listen\n\toption address '::'\n"));
}

static void outbound_alone_is_fine(void **state)
{
	struct settings *s = settings_of(MAIN LAN);

	(void)state;
	assert_int_equal(s->domain_count + s->listen_count, 0);
	assert_int_equal(s->outbound_count, 1);
	assert_null(s->outbounds[0].homeserver);
	settings_drop(s);
	s = settings_of(MAIN "config outbound\n\toption listen 'unix:/x'\n");
	assert_null(s->outbounds[0].secret);
	assert_string_equal(s->outbounds[0].endpoint.path, "/x");
	settings_drop(s);
	s = settings_of(
		MAIN "config outbound\n\toption mode 'connect'\n\toption listen '127.0.0.1:3128'\n"
		     "\toption secret_file 'pair'\n");
	assert_int_equal(s->outbounds[0].mode, OUTBOUND_CONNECT);
	assert_string_equal(s->outbounds[0].secret, "adam:pass word");
	settings_drop(s);
}

static void well_known_alone_is_fine(void **state)
{
	struct settings *s = settings_of(
		MAIN LISTEN
		"config domain\n\toption server_name 'example.org'\n" CERT
		"\toption client_url 'https://m.example.org'\n\toption client_extra 'extra.json'\n"
		"\toption support_page 'https://example.org/help'\n"
		"\tlist support_contact 'role=m.role.admin matrix_id=@adam:example.org'\n"
		"\tlist support_contact 'role=m.role.security email=eve@example.org'\n");
	const struct domain_settings *d = &s->domains[0];

	(void)state;
	assert_string_equal(d->section, "@domain[0]");
	assert_null(d->homeserver);
	assert_int_equal(d->expose, 0);
	assert_null(d->well_known_server);
	assert_non_null(strstr(d->well_known_client, "\"org.example\""));
	assert_non_null(strstr(d->well_known_client, "\"m.homeserver\""));
	assert_non_null(strstr(d->well_known_support, "\"@adam:example.org\""));
	assert_non_null(strstr(d->well_known_support, "\"m.role.security\""));
	assert_non_null(strstr(d->well_known_support, "\"https://example.org/help\""));
	settings_drop(s);
}

static void domains_may_share_a_delegate(void **state)
{
	struct settings *s = settings_of(
		MAIN NAS LISTEN
		"config domain 'a'\n\toption server_name 'a.org'\n\toption homeserver 'nas'\n"
		"\toption delegate 'm.org'\n" CERT
		"config domain 'b'\n\toption server_name 'b.org'\n\toption homeserver 'nas'\n"
		"\toption delegate 'm.org'\n" CERT);

	(void)state;
	assert_int_equal(s->domain_count, 2);
	settings_drop(s);
}

static void homeservers_may_be_anywhere(void **state)
{
	struct settings *s = settings_of(
		MAIN LAN
		"config homeserver 'a'\n\toption url 'unix:/run/a.sock'\n"
		"config homeserver 'b'\n\toption url 'https://NAS.lan'\n"
		"config homeserver 'c'\n\toption url 'http://[fd00::1]:8008/'\n\toption connection_limit '3'\n");

	(void)state;
	assert_string_equal(s->homeservers[0].endpoint.path, "/run/a.sock");
	assert_true(s->homeservers[1].tls && s->homeservers[1].host_is_name);
	assert_string_equal(s->homeservers[1].host, "nas.lan");
	assert_int_equal(s->homeservers[1].port, 443);
	assert_int_equal(s->homeservers[1].endpoint.address.port, 0);
	assert_int_equal(s->homeservers[2].endpoint.address.family, ADDRESS_V6);
	assert_int_equal(s->homeservers[2].connections_max, 3);
	assert_int_equal(s->homeservers[0].connections_max, 64);
	settings_drop(s);
}

static void sleeping_homeservers(void **state)
{
	struct settings *s = settings_of(
		MAIN LAN
		"config homeserver 'a'\n\toption url 'http://192.168.1.20:8008'\n"
		"config homeserver 'b'\n\toption url 'http://192.168.1.21:8008'\n"
		"\toption wake_mac '00:11:22:33:44:5f'\n\toption wake_address '192.168.1.255'\n"
		"\tlist wake_on 'invite  query'\n\tlist wake_on 'media'\n"
		"\toption probe_interval '2m'\n\toption sleep_grace '0'\n"
		"\toption queue_limit '64M'\n"
		"config homeserver 'c'\n\toption url 'http://192.168.1.22:8008'\n"
		"\toption wake_on 'none'\n");
	const struct homeserver_settings *h = s->homeservers;

	(void)state;
	assert_false(h[0].sleeps); /* nothing can be kept without a state_dir */
	assert_false(h[0].can_wake);
	assert_int_equal(h[0].wake_on,
	                 1u << AWAKE_MESSAGE | 1u << AWAKE_TO_DEVICE | 1u << AWAKE_INVITE |
	                         1u << AWAKE_KEYS | 1u << AWAKE_CLIENT | 1u << AWAKE_JOIN);
	assert_int_equal(h[0].probe_ms, 30000);
	assert_int_equal(h[0].sleep_grace_ms, 300000);
	assert_int_equal(h[0].queue_bytes, 32 << 20);
	assert_int_equal(h[0].wake_address.family, 0);
	assert_true(h[1].can_wake);
	assert_int_equal(h[1].wake_mac.byte[5], 0x5f);
	assert_int_equal(h[1].wake_address.ip[3], 255);
	assert_int_equal(h[1].wake_address.port, 0);
	assert_int_equal(h[1].wake_on, 1u << AWAKE_INVITE | 1u << AWAKE_QUERY | 1u << AWAKE_MEDIA);
	assert_int_equal(h[1].probe_ms, 120000);
	assert_int_equal(h[1].sleep_grace_ms, 0);
	assert_int_equal(h[1].queue_bytes, 64 << 20);
	assert_int_equal(h[2].wake_on, 0);
	settings_drop(s);
}

/* The words of wake_on are what logs call the kinds. */
static void kinds_have_one_name(void **state)
{
	const struct option      *o = option_find(SECTION_HOMESERVER, STRL("wake_on"));
	const struct option_word *w = o->words;

	(void)state;
	for (unsigned k = 0; k < AWAKE_KIND_COUNT; k++, w++) {
		assert_string_equal(w->word, awake_kind_slug((enum awake_kind)k));
		assert_int_equal(w->value, 1u << k);
	}
	assert_string_equal(w->word, "none");
}

/* As an owner might have it; nothing but the files is missing. */
static void a_whole_sample(void **state)
{
	struct settings *s = settings_of(
		"config doorstep 'main'\n\toption enabled '1'\n\toption state_dir '/srv/doorstep'\n"
		"\toption log_level 'info'\n\toption dns '127.0.0.1:53'\n"
		"\toption ca_file 'ca.pem'\n\tlist allow_range '192.168.0.0/16'\n\n"
		"config domain 'home'\n\toption server_name 'socialnetwork24.com'\n"
		"\toption homeserver 'nas'\n\toption delegate 'matrix.socialnetwork24.com:8448'\n"
		"\toption client_url 'https://matrix.socialnetwork24.com'\n\tlist expose 'federation'\n"
		"\tlist certificate 'cert.pem'\n\tlist key 'key.pem'\n\n"
		"config homeserver 'nas'\n\toption url 'http://192.168.1.20:8008'\n"
		"\toption wake_mac '00:11:22:33:44:55'\n\toption queue_limit '64M'\n\n"
		"config listen 'federation'\n\toption port '8448'\n\n"
		"config outbound 'lan'\n\toption mode 'matrix-federation'\n"
		"\toption listen '192.168.1.1:8009'\n\toption homeserver 'nas'\n"
		"\toption secret_file 'secret'\n\toption connection_limit '256'\n\n"
		"config policy\n\tlist deny_server '*.example.org'\n");

	(void)state;
	assert_true(s->homeservers[0].can_wake);
	assert_ptr_equal(s->outbounds[0].homeserver, &s->homeservers[0]);
	settings_drop(s);
}

static void credentials_replace_directories(void **state)
{
	const struct config_source source = { .path = "F", .credentials = "creds", .all = true };
	struct config_report       report;
	struct settings           *s = NULL;
	static const char text[] = MAIN NAS LISTEN
		"config domain\n\toption server_name 'a.b'\n"
		"\tlist certificate '/etc/ssl/none/cert.pem'\n\tlist key 'key.pem'\n"
		"config outbound\n\toption listen '10.0.0.1:8009'\n"
		"\toption secret_file '/root/secret'\n";

	(void)state;
	assert_int_equal(config_read(&source, str_of(text), &s, &report), ERR_CONFIG);
	assert_non_null(strstr(report.error, "certificate: cannot read creds/cert.pem"));
	assert_int_equal(mkdir("creds", 0700), 0);
	write_file("creds/cert.pem", "x", 0600);
	write_file("creds/key.pem", "x", 0600);
	write_file("creds/secret", "other", 0600);
	assert_int_equal(config_read(&source, str_of(text), &s, &report), ERR_OK);
	assert_string_equal(s->domains[0].certificates[0], "creds/cert.pem");
	assert_string_equal(s->domains[0].keys[0], "creds/key.pem");
	assert_string_equal(s->outbounds[0].secret, "other");
	settings_drop(s);
}

/* Half a configuration that is off must not stop anybody from starting the service. */
static void disabled_is_not_looked_at_closely(void **state)
{
	static const char text[] =
		"config domain\n\toption server_name 'a.b'\n\tlist certificate 'none.pem'\n" LISTEN;
	const struct config_source all = { .path = "F", .all = true };
	struct config_report       report;
	struct settings           *s = settings_of(text);

	(void)state;
	assert_false(s->enabled);
	assert_int_equal(s->domain_count + s->listen_count, 0);
	settings_drop(s);
	assert_int_equal(config_read(&all, str_of(text), &s, &report), ERR_CONFIG);
	assert_int_equal(read_text("config domain\n\toption nonsense '1'\n", &s, &report),
	                 ERR_CONFIG);
}

static void the_main_section_may_come_last(void **state)
{
	struct settings *s = settings_of(LAN "config doorstep 'main'\n\toption memory_class '256'\n"
	                                     "\toption enabled 'yes'\n\toption ca_file 'ca.pem'\n");

	(void)state;
	assert_true(s->enabled);
	assert_int_equal(s->limits.memory_class, 256);
	assert_int_equal(s->outbounds[0].connection_limit, 128);
	settings_drop(s);
}

/* Design budgets: connections and handshakes of each class. */
/* A ceiling that is set takes the default of another one with it. */
static void few_connections_are_few_to_one_server(void **state)
{
	struct settings *s =
		settings_of(MAIN LAN "config limits\n\toption outbound_connections '3'\n");

	(void)state;
	assert_int_equal(s->limits.outbound_connections, 3);
	assert_int_equal(s->limits.outbound_per_server, 3);
	settings_drop(s);
}

static void classes_have_their_budgets(void **state)
{
	static const struct {
		unsigned class, inbound, outbound, handshakes;
	} rows[] = {
		{ 64, 64, 32, 4 }, { 128, 128, 96, 8 }, { 256, 224, 128, 16 }, { 512, 768, 640, 32 }
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		char             text[256];
		struct settings *s;

		snprintf(text, sizeof(text), LAN MAIN "\toption memory_class '%u'\n",
		         rows[i].class);
		s = settings_of(text);
		assert_int_equal(s->limits.inbound_connections, rows[i].inbound);
		assert_int_equal(s->limits.outbound_connections, rows[i].outbound);
		assert_int_equal(s->limits.handshakes, rows[i].handshakes);
		assert_int_equal(s->limits.send_body_max, 13 << 20);
		assert_int_equal(s->limits.upload_max, 0);
		assert_int_equal(s->limits.response_head_ms, 600000);
		settings_drop(s);
	}
}

static void auto_asks_the_machine(void **state)
{
	struct settings *s = settings_of(MAIN LAN); /* the source says 120 MB */

	(void)state;
	assert_int_equal(s->limits.memory_class, 128);
	settings_drop(s);
}

/* --- files --- */

static void loads_a_file(void **state)
{
	struct config_source source = { .path = "huge" };
	struct config_report report;
	struct settings     *s = NULL;
	FILE                *f;

	(void)state;
	assert_int_equal(config_load(&source, &s, &report), ERR_IO);
	assert_string_equal(report.error, "huge: No such file or directory");
	write_file("huge", WHOLE, 0600);
	assert_int_equal(config_load(&source, &s, &report), ERR_OK);
	assert_string_equal(s->domains[0].server_name, "example.org");
	settings_drop(s);
	f = fopen("huge", "w");
	assert_non_null(f);
	for (unsigned i = 0; i <= CONFIG_FILE_MAX; i++)
		fputc('\n', f);
	fclose(f);
	s = NULL;
	assert_int_equal(config_load(&source, &s, &report), ERR_IO);
	assert_null(s);
	assert_non_null(strstr(report.error, "larger than 256 KiB"));
}

/* Every prefix gives settings or one line, never a crash, never both. */
static void every_prefix_is_answered(void **state)
{
	static const char text[] = WHOLE "config policy\n\tlist deny_server 'a.b'\n";
	size_t            refused = 0;

	(void)state;
	for (size_t n = 0; n < sizeof(text); n++) {
		const struct config_source source = { .path = "F" };
		char                      *prefix = malloc(n + 1);
		struct config_report       report;
		struct settings           *s = NULL;
		enum err                   e;

		assert_non_null(prefix);
		memcpy(prefix, text, n);
		e = config_read(&source, str_span(prefix, n), &s, &report);
		free(prefix);
		assert_true((e == ERR_OK) == (s != NULL));
		assert_true((e == ERR_OK) == (report.error[0] == '\0'));
		refused += e != ERR_OK;
		settings_drop(s);
	}
	assert_true(refused > 100);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(refuses_with_one_line),
		TEST(warns),
		TEST(builds_the_whole),
		TEST(no_address_means_both_families),
		TEST(the_same_port_on_different_addresses_is_fine),
		TEST(outbound_alone_is_fine),
		TEST(well_known_alone_is_fine),
		TEST(domains_may_share_a_delegate),
		TEST(homeservers_may_be_anywhere),
		TEST(sleeping_homeservers),
		TEST(kinds_have_one_name),
		TEST(a_whole_sample),
		TEST(credentials_replace_directories),
		TEST(disabled_is_not_looked_at_closely),
		TEST(the_main_section_may_come_last),
		TEST(few_connections_are_few_to_one_server),
		TEST(classes_have_their_budgets),
		TEST(auto_asks_the_machine),
		TEST(loads_a_file),
		TEST(every_prefix_is_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
