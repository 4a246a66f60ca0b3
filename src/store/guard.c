#include "store/guard.h"

#include <signal.h>
#include <unistd.h>

/* Only what may be called in a signal handler. */
static void on_bus_error(int number)
{
	static const char line[] =
		"error store.shrunk: a file in state_dir was cut, or can no longer be read, while it "
		"was in use; doorstep ends, and looks at it when it starts again\n";
	ssize_t written = write(STDERR_FILENO, line, sizeof(line) - 1);

	(void)number;
	(void)written;
	_exit(1);
}

void guard_install(void)
{
	struct sigaction action = { .sa_handler = on_bus_error };

	sigemptyset(&action.sa_mask);
	sigaction(SIGBUS, &action, NULL);
}
