/*
 * notifysock and sdnotify: they are the two ends of one protocol, so they test each other.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/os/notifysock.h"
#include "supervisor/os/sdnotify.h"
#include "tests/unit/suite.h"

static struct notifysock_message message;

static int must_open(char name[NOTIFYSOCK_NAME_MAX])
{
	const char *failed;
	int fd;

	ck_assert_int_eq(notifysock_open(name, &fd, &failed), 0);
	ck_assert_int_eq(name[0], '@');
	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	return fd;
}

static struct sdnotify must_init(const char *name)
{
	struct sdnotify sd;
	const char *failed;

	ck_assert_int_eq(sdnotify_init(&sd, name, &failed), 0);
	return sd;
}

static void expect(int fd, const char *text)
{
	ck_assert_int_eq(notifysock_receive(fd, &message), 1);
	ck_assert_str_eq(message.text, text);
	ck_assert_int_eq(message.pid, getpid());
	ck_assert_uint_eq(message.uid, getuid());
}

START_TEST(states)
{
	char name[NOTIFYSOCK_NAME_MAX];
	int fd = must_open(name);
	struct sdnotify sd = must_init(name);

	ck_assert_int_eq(notifysock_receive(fd, &message), 0);
	ck_assert_int_eq(sdnotify_ready(&sd, NULL), 1);
	expect(fd, "READY=1\n");
	ck_assert_int_eq(sdnotify_ready(&sd, "4 of 4\nREADY=0"), 1);
	expect(fd, "READY=1\nSTATUS=4 of 4 READY=0");
	ck_assert_int_eq(sdnotify_reloading(&sd, 123456789), 1);
	expect(fd, "RELOADING=1\nMONOTONIC_USEC=123456789\n");
	ck_assert_int_eq(sdnotify_stopping(&sd, "bye"), 1);
	expect(fd, "STOPPING=1\nSTATUS=bye");
	ck_assert_int_eq(sdnotify_status(&sd, "x"), 1);
	expect(fd, "STATUS=x");
	ck_assert_int_eq(sdnotify_watchdog(&sd), 1);
	expect(fd, "WATCHDOG=1\n");
	sdnotify_finish(&sd);
	ck_assert_int_eq(sdnotify_watchdog(&sd), 0);
}
END_TEST

START_TEST(two_sockets_two_names)
{
	char a[NOTIFYSOCK_NAME_MAX], b[NOTIFYSOCK_NAME_MAX];
	int first = must_open(a), second = must_open(b);
	struct sdnotify sd = must_init(b);

	ck_assert_str_ne(a, b);
	ck_assert_int_eq(sdnotify_ready(&sd, NULL), 1);
	ck_assert_int_eq(notifysock_receive(first, &message), 0);
	ck_assert_int_eq(notifysock_receive(second, &message), 1);
}
END_TEST

/* A full queue never blocks the sender, and a noisy worker fills only its own. */
START_TEST(full_queue)
{
	char name[NOTIFYSOCK_NAME_MAX];
	int fd = must_open(name), sent = 0, got = 0;
	struct sdnotify sd = must_init(name);

	while (sent < 100000 && sdnotify_watchdog(&sd) == 1)
		sent++;
	ck_assert_int_gt(sent, 0);
	ck_assert_int_lt(sent, 100000);
	ck_assert_int_eq(sdnotify_watchdog(&sd), -EAGAIN);
	while (notifysock_receive(fd, &message) == 1)
		got++;
	ck_assert_int_eq(got, sent);
}
END_TEST

static int sender_to(const char *name, struct sockaddr_un *address, socklen_t *size)
{
	memset(address, 0, sizeof *address);
	address->sun_family = AF_UNIX;
	memcpy(address->sun_path, name, strlen(name));
	address->sun_path[0] = '\0';
	*size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
	return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

START_TEST(long_and_odd_texts)
{
	static char text[NOTIFYSOCK_TEXT_MAX + 100];
	char name[NOTIFYSOCK_NAME_MAX];
	struct sockaddr_un to;
	socklen_t size;
	int fd = must_open(name), out = sender_to(name, &to, &size);

	memset(text, 'x', sizeof text);
	ck_assert_int_gt(sendto(out, text, sizeof text, 0, (struct sockaddr *)&to, size), 0);
	ck_assert_int_eq(notifysock_receive(fd, &message), 1);
	ck_assert(message.cut);
	ck_assert_uint_eq(message.size, NOTIFYSOCK_TEXT_MAX);
	ck_assert_uint_eq(strlen(message.text), NOTIFYSOCK_TEXT_MAX);
	ck_assert_int_gt(sendto(out, "a\0b", 3, 0, (struct sockaddr *)&to, size), 0);
	ck_assert_int_eq(notifysock_receive(fd, &message), 1);
	ck_assert(!message.cut);
	ck_assert_uint_eq(message.size, 3);
	ck_assert_int_eq(sendto(out, "", 0, 0, (struct sockaddr *)&to, size), 0);
	ck_assert_int_eq(notifysock_receive(fd, &message), 1);
	ck_assert_uint_eq(message.size, 0);
}
END_TEST

static void send_fds(int out, struct sockaddr_un *to, socklen_t size, const int *fds, size_t count)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(253 * sizeof(int))];
	} control = { 0 };
	struct iovec text = { .iov_base = "BARRIER=1", .iov_len = 9 };
	struct msghdr head = {
		.msg_name = to, .msg_namelen = size, .msg_iov = &text, .msg_iovlen = 1
	};
	struct cmsghdr *c;

	head.msg_control = &control;
	head.msg_controllen = CMSG_SPACE(count * sizeof(int));
	c = CMSG_FIRSTHDR(&head);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(c), fds, count * sizeof(int));
	ck_assert_int_eq(sendmsg(out, &head, 0), 9);
}

/* The sender of a barrier sees the other end closed once it was read; more fds do no harm. */
START_TEST(passed_fds_are_closed)
{
	static const size_t counts[] = { 1, 2, 253 };
	char name[NOTIFYSOCK_NAME_MAX];
	struct sockaddr_un to;
	socklen_t size;
	int fd = must_open(name), out = sender_to(name, &to, &size), ends[2], fds[253];

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
	for (size_t i = 0; i < 253; i++)
		fds[i] = ends[1];
	send_fds(out, &to, size, fds, counts[_i]);
	close(ends[1]);
	ck_assert_int_eq(poll(&(struct pollfd){ .fd = ends[0] }, 1, 0), 0);
	ck_assert_int_eq(notifysock_receive(fd, &message), 1);
	ck_assert_int_eq(message.fds, (int)counts[_i]);
	ck_assert_str_eq(message.text, "BARRIER=1");
	ck_assert_int_eq(message.pid, getpid());
	ck_assert_int_eq(poll(&(struct pollfd){ .fd = ends[0] }, 1, 0), 1);
}
END_TEST

/* A worker with another uid can speak, and is known by it. */
START_TEST(other_user)
{
	char name[NOTIFYSOCK_NAME_MAX];
	int fd = must_open(name), status;
	pid_t pid;

	if (geteuid() != 0)
		return; /* only root can become somebody else */
	pid = fork();
	if (pid == 0) {
		struct sdnotify sd;
		const char *failed;

		_exit(setuid(65534) != 0 || sdnotify_init(&sd, name, &failed) != 0 ||
		      sdnotify_ready(&sd, NULL) != 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(notifysock_receive(fd, &message), 1);
	ck_assert_int_eq(message.pid, pid);
	ck_assert_uint_eq(message.uid, 65534);
}
END_TEST

START_TEST(addresses)
{
	static char path[] = "/tmp/clusterd-notify-XXXXXX";
	char text[300];
	struct sdnotify sd;
	const char *failed;
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(sdnotify_init(&sd, NULL, &failed), 0);
	ck_assert_int_eq(sdnotify_ready(&sd, NULL), 0);
	ck_assert_int_eq(sdnotify_init(&sd, "", &failed), 0);
	ck_assert_int_eq(sdnotify_init(&sd, "relative", &failed), -EINVAL);
	ck_assert_int_eq(sdnotify_init(&sd, "@", &failed), -EINVAL);
	ck_assert_int_eq(sdnotify_init(&sd, "vsock:2:1234", &failed), -EINVAL);
	memset(text, 'x', sizeof text);
	text[0] = '/';
	text[108] = '\0';
	ck_assert_int_eq(sdnotify_init(&sd, text, &failed), -EINVAL);

	ck_assert_ptr_nonnull(mkdtemp(path));
	snprintf(at.sun_path, sizeof at.sun_path, "%s/n", path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
	ck_assert_int_eq(sdnotify_init(&sd, at.sun_path, &failed), 0);
	ck_assert_int_eq(sdnotify_ready(&sd, NULL), 1);
	ck_assert_int_eq(recv(fd, text, sizeof text, MSG_DONTWAIT), 8);
	unlink(at.sun_path);
	rmdir(path);
	ck_assert_int_eq(sdnotify_ready(&sd, NULL), -ENOENT);
}
END_TEST

START_TEST(watchdog_time)
{
	char mine[16];

	snprintf(mine, sizeof mine, "%d", (int)getpid());
	ck_assert_uint_eq(sdnotify_watchdog_ms(NULL, NULL), 0);
	ck_assert_uint_eq(sdnotify_watchdog_ms("30000000", NULL), 15000);
	ck_assert_uint_eq(sdnotify_watchdog_ms("30000000", mine), 15000);
	ck_assert_uint_eq(sdnotify_watchdog_ms("30000000", "1"), 0);
	ck_assert_uint_eq(sdnotify_watchdog_ms("30000000", "x"), 0);
	ck_assert_uint_eq(sdnotify_watchdog_ms("1", NULL), 1);
	ck_assert_uint_eq(sdnotify_watchdog_ms("0", NULL), 0);
	ck_assert_uint_eq(sdnotify_watchdog_ms("-1", NULL), 0);
	ck_assert_uint_eq(sdnotify_watchdog_ms("99999999999999999999", NULL), 0);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_test(tests, states);
	tcase_add_test(tests, two_sockets_two_names);
	tcase_add_test(tests, full_queue);
	tcase_add_test(tests, long_and_odd_texts);
	tcase_add_loop_test(tests, passed_fds_are_closed, 0, 3);
	tcase_add_test(tests, other_user);
	tcase_add_test(tests, addresses);
	tcase_add_test(tests, watchdog_time);
}

int main(void)
{
	return run_suite("os/notify", add_tests);
}
