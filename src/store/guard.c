#include "store/guard.h"

#include <signal.h>
#include <unistd.h>

static volatile sig_atomic_t note_fd = -1, note_at, note_digit;

/* Only what may be called in a signal handler. */
static void note(void)
{
	char digit = (char)note_digit;

	if (note_fd >= 0 && lseek(note_fd, note_at, SEEK_SET) == note_at &&
	    write(note_fd, &digit, 1) != 1)
		note_fd = -1;
}

/* ditto */
static void on_bus_error(int number)
{
	static const char line[] =
		"error store.shrunk: a file in state_dir was cut, or can no longer be read, while it "
		"was in use; doorstep ends, and looks at it when it starts again\n";
	ssize_t written = write(STDERR_FILENO, line, sizeof(line) - 1);

	(void)number;
	(void)written;
	note();
	_exit(1);
}

void guard_note(int fd, int at, char digit)
{
	note_fd = -1;
	note_at = at;
	note_digit = digit;
	note_fd = fd;
}

void guard_install(void)
{
	struct sigaction action = { .sa_handler = on_bus_error };

	sigemptyset(&action.sa_mask);
	sigaction(SIGBUS, &action, NULL);
}
