/*
 * clusterd-exec - run a program behind a script, with its sockets still its own.
 *
 *   clusterd-exec PROGRAM [ARGUMENT ...]
 *
 * LISTEN_PID and WATCHDOG_PID name the process that clusterd started. Where that is a
 * shell, npm or another wrapper that starts the real program as a child, the program
 * finds another pid there and leaves its sockets alone (sd_listen_fds(3)). This sets
 * both to the pid that the program will have, and executes it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_USAGE = 64, EXIT_CANNOT_EXECUTE = 126, EXIT_NOT_FOUND = 127 };

static int rename_pid(const char *variable)
{
	char pid[24];

	if (!getenv(variable))
		return 0;
	snprintf(pid, sizeof pid, "%ld", (long)getpid());
	return setenv(variable, pid, 1);
}

int main(int argc, char **argv)
{
	if (argc < 2 || argv[1][0] == '-') {
		fputs("usage: clusterd-exec PROGRAM [ARGUMENT ...]\n"
		      "Gives PROGRAM the sockets of clusterd when a script stands in between; "
		      "see clusterd-exec(1).\n", stderr);
		return EXIT_USAGE;
	}
	if (rename_pid("LISTEN_PID") < 0 || rename_pid("WATCHDOG_PID") < 0) {
		fprintf(stderr, "clusterd-exec: %s\n", strerror(errno));
		return EXIT_CANNOT_EXECUTE;
	}
	execvp(argv[1], argv + 1);
	fprintf(stderr, "clusterd-exec: %s: %s\n", argv[1], strerror(errno));
	return errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_EXECUTE;
}
