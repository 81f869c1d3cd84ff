/*
 * control_rig - the control socket on a loop of its own, with a double of the supervisor
 * behind it, and a client in the same thread. Included by the tests that use it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/fake_supervisor.c"
#include "tests/unit/suite.h"

enum { DEADLINE_MS = 8000, ANSWER_MAX = 1 << 22 };

static char folder[64], path[96];
static struct supervisor *s;
static char answer[ANSWER_MAX];

static void begin(uint32_t slots)
{
	char problem[CONTROL_PROBLEM_MAX] = "";

	strcpy(folder, "/tmp/test-control-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/web.sock", folder);
	s = fake_create(slots);
	strcpy(s->policy.control_socket, path);
	ck_assert_msg(metrics_start(s, &s->policy, -1, &s->metrics, problem) == 0, "%s", problem);
	ck_assert_msg(control_start(s, &s->policy, "web", -1, &s->control, problem) == 0, "%s",
	              problem);
	ck_assert_str_eq(control_path(s->control), path);
}

static void setup(void)
{
	begin(3);
}

/* What must be true after any test: the path is gone, and the loop could be closed. */
static void teardown(void)
{
	fake_destroy(s);
	ck_assert_int_eq(access(path, F_OK), -1);
	ck_assert_int_eq(rmdir(folder), 0);
}

/* ---- a client in the same thread ---- */

static int dial(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	strcpy(sa.sun_path, path);
	if (connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0)
		return fd;
	close(fd);
	return -1;
}

/* Lets the server turn until something can be read. Returns what recv said. */
static ssize_t take(int fd, char *to, size_t size)
{
	uint64_t end = sup_now_ms(s) + DEADLINE_MS;

	for (;;) {
		ssize_t n = recv(fd, to, size, 0);

		if (n >= 0 || errno != EAGAIN)
			return n;
		ck_assert_msg(sup_now_ms(s) < end, "no answer in time");
		uv_run(&s->loop, UV_RUN_NOWAIT);
		poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 1);
	}
}

__attribute__((unused)) static void turns(int count)
{
	while (count-- > 0)
		uv_run(&s->loop, UV_RUN_NOWAIT);
}

static void say(int fd, const char *text)
{
	ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Reads until `count` last lines have come, or the end of the connection. */
static const char *listen_for(int fd, unsigned count)
{
	size_t used = 0;
	unsigned seen = 0;

	while (seen < count) {
		ssize_t n = take(fd, answer + used, ANSWER_MAX - 1 - used);

		if (n <= 0)
			break;
		used += (size_t)n;
		answer[used] = '\0';
		seen = 0;
		for (const char *at = answer; (at = strstr(at, "\"done\":true}\n")); at++)
			seen++;
	}
	answer[used] = '\0';
	return answer;
}

static const char *ask(const char *line)
{
	int fd = dial();

	ck_assert_int_ge(fd, 0);
	say(fd, line);
	listen_for(fd, 1);
	close(fd);
	return answer;
}

#define HAS(text) ck_assert_msg(strstr(answer, text) != NULL, "no %s in: %.600s", text, answer)
#define HAS_NOT(text) ck_assert_msg(strstr(answer, text) == NULL, "%s in: %.600s", text, answer)
