#include "app/cli.h"
#include "app/serve.h"
#include "app/verbs.h"

int serve_verb(int argc, char **argv)
{
	struct serve_options    options = { .config = NULL };
	const struct cli_option cli_options[] = {
		{ "config", "FILE", "UCI text, e.g. what 'uci export doorstep' prints (needed)",
		  &options.config, NULL },
		{ "credentials", "DIR",
		  "read certificate, key and secret files from here, by their base names",
		  &options.credentials, NULL },
		{ "syslog", NULL, "log to the system's log, with levels, instead of standard error",
		  NULL, &options.syslog },
		{ "user", "NAME", "become this user once the ports are open; needs root",
		  &options.user, NULL },
		{ .name = NULL },
	};
	const struct cli cli = {
		.name = "serve",
		.about =
			"Runs in the foreground until SIGTERM. SIGHUP reads the configuration and the\n"
			"certificates again; a wrong configuration changes nothing.\n"
			"With 'option enabled 0' it says so and ends with success.\n",
		.examples = "  doorstep serve --config /etc/config/doorstep\n"
			    "  doorstep serve --config /var/run/doorstep/config --credentials "
			    "/var/run/doorstep/credentials\n",
		.options = cli_options,
	};
	int done = cli_parse(&cli, argc - 1, argv + 1);

	if (done != CLI_GO_ON)
		return done;
	if (options.config == NULL)
		return cli_usage(&cli, "missing:", "--config FILE");
	return serve_run(&options) == ERR_OK ? EXIT_OK : EXIT_FAILED;
}
