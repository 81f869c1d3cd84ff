/*
 * Kills the one worker behind each port and takes the time until its replacement has answered.
 *
 *   respawn_clock KILLS LIFE_MS NAME=PORT...
 *
 * The names take turns, the first one of a round changes. The request is sent right after the
 * kill and waits in the listen queue; should the dying worker still take it, it is sent again.
 * One line a kill: NAME and microseconds.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { NAMES_MAX = 8, TIMEOUT_S = 10 };

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void wait_until(int64_t ns)
{
	struct timespec t = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

/* The pid that answered, or 0. */
static pid_t ask(uint16_t port)
{
	static const char request[] = "GET /get HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
	struct sockaddr_in address = { .sin_family = AF_INET,
		                       .sin_port = htons(port),
		                       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timeval patience = { .tv_sec = TIMEOUT_S };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const char *pid = NULL;
	char text[4096];
	size_t used = 0;
	ssize_t n;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
	    send(fd, request, sizeof request - 1, MSG_NOSIGNAL) > 0) {
		while (used < sizeof text - 1 &&
		       (n = recv(fd, text + used, sizeof text - 1 - used, 0)) > 0)
			used += (size_t)n;
		text[used] = '\0';
		pid = strcasestr(text, "\nx-pid:");
	}
	close(fd);
	return pid ? (pid_t)atoi(pid + 7) : 0;
}

static int64_t replace(uint16_t port)
{
	pid_t old = ask(port), new;
	int64_t begin = now_ns();

	if (old <= 0 || kill(old, SIGKILL) < 0)
		return -1;
	do
		new = ask(port);
	while ((new == 0 || new == old) && now_ns() - begin < (int64_t)TIMEOUT_S * 1000000000);
	return new > 0 && new != old ? now_ns() - begin : -1;
}

int main(int argc, char **argv)
{
	int kills = argc > 3 ? atoi(argv[1]) : 0, names = argc - 3;
	int64_t life = kills ? (int64_t)atoi(argv[2]) * 1000000 : 0, born[NAMES_MAX] = { 0 };

	if (kills <= 0 || names > NAMES_MAX)
		return 2;
	for (int i = 0; i < names; i++)
		born[i] = now_ns();
	for (int i = 0; i < kills * names; i++) {
		int at = (i % names + i / names) % names;
		char *name = argv[3 + at], *port = strchr(name, '=');
		int64_t took;

		if (!port)
			return 2;
		wait_until(born[at] + life);
		took = replace((uint16_t)atoi(port + 1));
		born[at] = now_ns();
		if (took < 0) {
			fprintf(stderr, "%s: no answer after a kill\n", name);
			return 1;
		}
		printf("%.*s %.1f\n", (int)(port - name), name, (double)took / 1000);
	}
	return 0;
}
