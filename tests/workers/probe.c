/*
 * probe - one worker with many manners, for tests.
 *
 *	probe [WORD | WORD=VALUE] ...
 *
 * The words are done from left to right; after the last one it serves. While it
 * serves, a client can ask for any word too: `GET /exit=3`.
 *
 *	ready            READY=1 to NOTIFY_SOCKET; without this word it never says so
 *	ready-fd         a newline to the fd that READY_FD names
 *	notify=TEXT      any other message; `;` becomes a newline
 *	after=MS         waits;  until=PATH waits for that file
 *	print=TEXT       a line to stdout;  error=TEXT to stderr
 *	partial=TEXT     the same to stdout without a newline
 *	flood=MB         numbered lines of 100 bytes to stdout
 *	report           its identity, environment and fds as JSON to stdout (see report.h)
 *	report=PATH      the same to a file that appears whole (written beside it, renamed)
 *	touch=PATH       makes an empty file
 *	exit=N           ends with that status;  signal=N ends by that signal;  abort
 *	crash-after=N    serves, and dies of SIGSEGV before answer number N + 1
 *	ignore-term      TERM does nothing from now on;  ignore=N the same for a signal
 *	drain=MS         once TERM comes while it serves, goes on for so long, then exits 0
 *	term-exit=N      the status for that exit
 *	hang             answers nothing any more;  spin the same, with the CPU
 *	shutdown=HOW     rd, wr, rdwr, or unspec (connect) on all its listeners
 *	backlog=N        listen(fd, N) on them;  nonblock=0|1 sets O_NONBLOCK on them
 *	close=FD         closes an fd
 *	fork-child       a child that holds all fds and waits;  setsid-child with its own session
 *	eat-memory=MB    touches so much memory
 *	fd0              serves on fd 0 instead of 3, 4, …
 *	blocking         serves with a blocking accept, one connection at a time
 *	serve            serves now, until it is told to end
 *
 * An answer is 200 with X-Pid, X-Slot and X-Generation; the body of `GET /` is the pid, of
 * `GET /report` the report, of any other word `ok`. Connections are kept alive.
 */
#include "tests/workers/probe.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tests/workers/report.h"

enum { TEXT_MAX = 4096, LINE_SIZE = 100 };

struct probe probe = { .first_fd = 3, .crash_after = -1 };

static long number(const char *value)
{
	return strtol(value, NULL, 10);
}

long probe_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void send_notify(const char *text)
{
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t length = name ? strlen(name) : 0;
	int fd;

	if (length == 0 || length >= sizeof address.sun_path)
		return;
	memcpy(address.sun_path, name, length);
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&address,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) < 0)
		perror("probe: NOTIFY_SOCKET");
	close(fd);
}

static void do_ready(const char *value)
{
	(void)value;
	send_notify("READY=1");
}

static void do_ready_fd(const char *value)
{
	const char *fd = getenv("READY_FD");

	(void)value;
	if (!fd || write((int)number(fd), "\n", 1) != 1)
		perror("probe: READY_FD");
}

static void do_notify(const char *value)
{
	char text[TEXT_MAX];

	snprintf(text, sizeof text, "%s", value);
	for (char *c = text; *c; c++)
		*c = *c == ';' ? '\n' : *c;
	send_notify(text);
}

static void do_after(const char *value)
{
	long end = probe_now_ms() + number(value);

	while (probe_now_ms() < end)
		poll(NULL, 0, (int)(end - probe_now_ms()));
}

static void do_until(const char *path)
{
	while (access(path, F_OK) < 0)
		poll(NULL, 0, 5);
}

static void do_print(const char *value)
{
	dprintf(1, "%s\n", value);
}

static void do_error(const char *value)
{
	dprintf(2, "%s\n", value);
}

static void do_partial(const char *value)
{
	dprintf(1, "%s", value);
}

static void do_flood(const char *value)
{
	long lines = number(value) * 1000000 / LINE_SIZE;
	FILE *out = fdopen(dup(1), "w");

	for (long i = 0; out && i < lines; i++)
		fprintf(out, "%-*ld\n", LINE_SIZE - 1, i);
	if (out)
		fclose(out);
}

static void do_report(const char *value)
{
	char beside[TEXT_MAX];
	FILE *out;

	if (!*value) {
		report_write(stdout, probe.argv, -1);
		return;
	}
	snprintf(beside, sizeof beside, "%s.%d", value, (int)getpid());
	out = fopen(beside, "we");
	if (!out)
		return;
	report_write(out, probe.argv, fileno(out));
	fclose(out);
	rename(beside, value);
}

static void do_touch(const char *value)
{
	close(open(value, O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
}

static void do_exit(const char *value)
{
	_exit((int)number(value));
}

static void do_signal(const char *value)
{
	int signo = (int)number(value);

	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	signal(signo, SIG_DFL);
	kill(getpid(), signo);
}

static void do_abort(const char *value)
{
	(void)value;
	do_signal("6");
}

static void do_crash_after(const char *value)
{
	probe.crash_after = number(value);
}

static void do_ignore(const char *value)
{
	signal(*value ? (int)number(value) : SIGTERM, SIG_IGN);
}

static void do_drain(const char *value)
{
	probe.drain_ms = number(value);
}

static void do_term_exit(const char *value)
{
	probe.term_exit = number(value);
}

static void do_hang(const char *value)
{
	(void)value;
	signal(SIGTERM, SIG_DFL);
	for (;;)
		pause();
}

static void do_spin(const char *value)
{
	(void)value;
	for (volatile unsigned long i = 0;; i++)
		;
}

static void shut_down(int fd, long how)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	if (how < 0)
		connect(fd, &none, sizeof none);
	else
		shutdown(fd, (int)how);
}

static void do_listeners(void (*act)(int fd, long argument), long argument)
{
	for (int i = 0; i < probe.listener_count; i++)
		act(probe.first_fd + i, argument);
}

static void do_shutdown(const char *value)
{
	do_listeners(shut_down, !strcmp(value, "rd")     ? SHUT_RD
				: !strcmp(value, "wr")   ? SHUT_WR
				: !strcmp(value, "rdwr") ? SHUT_RDWR
							 : -1);
}

static void set_backlog(int fd, long backlog)
{
	listen(fd, (int)backlog);
}

static void do_backlog(const char *value)
{
	do_listeners(set_backlog, number(value));
}

static void set_nonblock(int fd, long on)
{
	int flags = fcntl(fd, F_GETFL);

	fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

static void do_nonblock(const char *value)
{
	do_listeners(set_nonblock, number(value));
}

static void do_close(const char *value)
{
	close((int)number(value));
}

static void do_fork_child(const char *value)
{
	(void)value;
	if (fork() == 0)
		for (;;)
			pause();
}

static void do_setsid_child(const char *value)
{
	(void)value;
	if (fork() == 0) {
		setsid();
		for (;;)
			pause();
	}
}

static void do_eat_memory(const char *value)
{
	size_t size = (size_t)number(value) << 20;
	char *memory = malloc(size);

	for (size_t i = 0; memory && i < size; i += 4096)
		((volatile char *)memory)[i] = 1;
}

static void do_fd0(const char *value)
{
	(void)value;
	probe.first_fd = 0;
	probe.listener_count = 1;
}

static void do_blocking(const char *value)
{
	(void)value;
	probe.blocking = true;
}

static void do_serve(const char *value)
{
	(void)value;
	serve();
}

static const struct word {
	const char *name;
	void (*act)(const char *value); /* "" if the word has none */
} words[] = {
	{ "ready", do_ready },
	{ "ready-fd", do_ready_fd },
	{ "notify", do_notify },
	{ "after", do_after },
	{ "until", do_until },
	{ "print", do_print },
	{ "error", do_error },
	{ "partial", do_partial },
	{ "flood", do_flood },
	{ "report", do_report },
	{ "touch", do_touch },
	{ "exit", do_exit },
	{ "signal", do_signal },
	{ "abort", do_abort },
	{ "crash-after", do_crash_after },
	{ "ignore-term", do_ignore },
	{ "ignore", do_ignore },
	{ "drain", do_drain },
	{ "term-exit", do_term_exit },
	{ "hang", do_hang },
	{ "spin", do_spin },
	{ "shutdown", do_shutdown },
	{ "backlog", do_backlog },
	{ "nonblock", do_nonblock },
	{ "close", do_close },
	{ "fork-child", do_fork_child },
	{ "setsid-child", do_setsid_child },
	{ "eat-memory", do_eat_memory },
	{ "fd0", do_fd0 },
	{ "blocking", do_blocking },
	{ "serve", do_serve },
};

bool probe_word(const char *text)
{
	size_t length = strcspn(text, "=");

	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		if (strlen(words[i].name) == length && !strncmp(words[i].name, text, length)) {
			words[i].act(text[length] ? text + length + 1 : "");
			return true;
		}
	}
	return false;
}

int main(int argc, char **argv)
{
	probe.argv = argv;
	probe.listener_count = (int)number(getenv("LISTEN_FDS") ? getenv("LISTEN_FDS") : "0");
	if (probe.listener_count > LISTENERS_MAX)
		probe.listener_count = LISTENERS_MAX;
	for (int i = 1; i < argc; i++) {
		if (!probe_word(argv[i])) {
			fprintf(stderr, "probe: unknown word: %s\n", argv[i]);
			return 64;
		}
	}
	serve();
}
