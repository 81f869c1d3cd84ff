/*
 * takeback and rowfile: catalogue rows N7 and N11.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <linux/sockios.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/os/proc.h"
#include "supervisor/os/rowfile.h"
#include "supervisor/os/takeback.h"
#include "tests/unit/suite.h"

enum { DEADLINE_MS = 10000 };

static char folder[] = "/tmp/clusterd-takeback-XXXXXX";
static char path[64];
static const char *failed;

static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/s", folder);
}

static void teardown(void)
{
	char command[128];

	snprintf(command, sizeof command, "rm -rf %s", folder);
	ck_assert_int_eq(system(command), 0);
	snprintf(folder, sizeof folder, "/tmp/clusterd-takeback-XXXXXX");
}

/* ---- a process that holds sockets ---- */

struct holder {
	pid_t pid;
	int pidfd;
	uint64_t started;
};

/* The child keeps what is open, and what open() opens for it; the parent has none of it. */
static struct holder hold(void (*open)(void *), void *context)
{
	struct holder holder = { .pidfd = -1 };
	struct proc_info info;
	int ready[2];
	char byte;

	ck_assert_int_eq(pipe(ready), 0);
	holder.pid = fork();
	if (holder.pid == 0) {
		setpgid(0, 0);
		if (open)
			open(context);
		if (write(ready[1], "", 1) == 1)
			pause();
		_exit(0);
	}
	close(ready[1]);
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	ck_assert_int_eq(proc_read("/proc", holder.pid, &info), 0);
	holder.started = info.started;
	return holder;
}

static void identify(struct holder *holder)
{
	holder->pidfd = takeback_identify(holder->pid, holder->started, &failed);
	ck_assert_int_ge(holder->pidfd, 0);
	ck_assert_int_eq(fcntl(holder->pidfd, F_GETFD), FD_CLOEXEC);
}

static void release(struct holder *holder)
{
	kill(holder->pid, SIGKILL);
	waitpid(holder->pid, NULL, 0);
	if (holder->pidfd >= 0)
		close(holder->pidfd);
}

static struct address inet(enum address_kind kind, bool any, uint16_t port)
{
	struct address address = { .kind = kind, .any = any, .port = port };
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

	four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	address.size = any ? sizeof six : sizeof four;
	if (any)
		memcpy(&address.sa, &six, sizeof six);
	else
		memcpy(&address.sa, &four, sizeof four);
	return address;
}

static struct address local(const char *name, bool abstract)
{
	struct address address = { .kind = ADDRESS_UNIX };
	struct sockaddr_un sun = { .sun_family = AF_UNIX };

	memcpy(sun.sun_path + abstract, name, strlen(name));
	memcpy(&address.sa, &sun, sizeof sun);
	address.size = (uint16_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name) + 1);
	return address;
}

static struct listen_spec spec_of(const struct address *address)
{
	return (struct listen_spec){ .address = address,
				     .backlog = 64,
				     .mode = 0640,
				     .owner = LISTEN_KEEP_UID,
				     .group = LISTEN_KEEP_GID };
}

/* In the child: its number is in the address then, for the parent to read. */
static void open_address(void *context)
{
	struct listen_spec spec = spec_of(context);
	struct listening made;

	spec.mode = 0666;
	if (listen_open(&spec, &made, &failed) < 0)
		_exit(1);
}

static uint16_t free_port(int type)
{
	struct sockaddr_in6 sa = { .sin6_family = AF_INET6 };
	socklen_t size = sizeof sa;
	int fd = socket(AF_INET6, type | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sa, size), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&sa, &size), 0);
	close(fd);
	return ntohs(sa.sin6_port);
}

/* All the sockets of one process. */
static struct takeback sockets_of(struct holder *holder)
{
	struct takeback set = { .list = NULL };
	int rc;

	identify(holder);
	rc = takeback_collect(&set, holder->pidfd, holder->pid, &failed);
	ck_assert_msg(rc == 0, "%s: %s", failed, strerror(-rc));
	return set;
}

static int take(struct takeback *set, const struct address *address, struct listening *ret)
{
	struct listen_spec spec = spec_of(address);

	return takeback_take(set, &spec, ret, &failed);
}

static int connect_to(const struct address *address)
{
	int fd = socket(address->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (const struct sockaddr *)&address->sa, address->size) == 0)
		return fd;
	close(fd);
	return -1;
}

/* ---- who it is ---- */

START_TEST(only_the_very_process)
{
	struct holder holder = hold(NULL, NULL);
	siginfo_t info;

	identify(&holder);
	ck_assert_int_eq(takeback_identify(holder.pid, holder.started + 1, &failed), -ESRCH);
	ck_assert_int_eq(takeback_identify(holder.pid, 0, &failed), -ESRCH);
	ck_assert_int_eq(takeback_identify(-5, holder.started, &failed), -ESRCH);
	ck_assert_int_eq(takeback_identify(INT32_MAX, holder.started, &failed), -ESRCH);
	kill(holder.pid, SIGKILL);
	ck_assert_int_eq(waitid(P_PID, (id_t)holder.pid, &info, WEXITED | WNOWAIT), 0);
	ck_assert_int_eq(takeback_identify(holder.pid, holder.started, &failed), -ESRCH); /* a zombie */
	release(&holder);
	ck_assert_int_eq(takeback_identify(holder.pid, holder.started, &failed), -ESRCH);
}
END_TEST

/* ---- its sockets ---- */

static const struct kind {
	enum address_kind kind;
	bool any;
} kinds[] = { { ADDRESS_TCP, false }, { ADDRESS_TCP, true }, { ADDRESS_UDP, false }, { ADDRESS_UDP, true } };

START_TEST(inet_is_taken_back)
{
	const struct kind *kind = &kinds[_i];
	int type = kind->kind == ADDRESS_UDP ? SOCK_DGRAM : SOCK_STREAM;
	struct address address = inet(kind->kind, kind->any, free_port(type)), other = address;
	struct holder holder = hold(open_address, &address);
	struct takeback set = sockets_of(&holder);
	struct listening got = { .fd = -1 };
	int client = -1;

	if (type == SOCK_STREAM) {
		client = connect_to(&address);
		ck_assert_int_ge(client, 0);
	}
	other.port++;
	ck_assert_int_eq(take(&set, &other, &got), 0);
	other = inet(kind->kind == ADDRESS_UDP ? ADDRESS_TCP : ADDRESS_UDP, kind->any, address.port);
	ck_assert_int_eq(take(&set, &other, &got), 0);
	other = inet(kind->kind, !kind->any, address.port);
	ck_assert_int_eq(take(&set, &other, &got), 0);
	ck_assert_int_eq(got.fd, -1);
	ck_assert_int_eq(take(&set, &address, &got), 1);
	ck_assert_int_eq(fcntl(got.fd, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(listen_port(got.fd), address.port);
	ck_assert_int_eq(take(&set, &address, &(struct listening){ .fd = -1 }), 0); /* once */
	release(&holder);
	if (client >= 0) {
		int accepted = accept(got.fd, NULL, NULL); /* it has waited all the while */

		ck_assert_int_ge(accepted, 0);
		close(accepted);
		close(client);
	}
	takeback_finish(&set);
	listen_close(&got);
}
END_TEST

/* Two who share a socket show it once. */
START_TEST(one_of_each)
{
	struct address address = inet(ADDRESS_TCP, false, free_port(SOCK_STREAM));
	struct listen_spec spec = spec_of(&address);
	struct listening made;
	struct holder one, two;
	struct takeback set;

	ck_assert_int_eq(listen_open(&spec, &made, &failed), 0);
	one = hold(NULL, NULL);
	two = hold(NULL, NULL);
	close(made.fd);
	set = sockets_of(&one);
	ck_assert_uint_eq(set.count, 1);
	identify(&two);
	ck_assert_int_eq(takeback_collect(&set, two.pidfd, two.pid, &failed), 0);
	ck_assert_uint_eq(set.count, 1);
	takeback_finish(&set);
	release(&two);
	release(&one);
	/* Nothing but the two had it. */
	ck_assert_int_eq(listen_open(&spec, &made, &failed), 0);
	listen_close(&made);
}
END_TEST

/* A listener, both ends of a connection to it, a pair, and two UDP sockets of which one has a peer. */
static void open_many(void *context)
{
	const struct address *address = context;
	struct address udp = inet(ADDRESS_UDP, false, free_port(SOCK_DGRAM));
	int pair[2], listener = 3, bound, connected;

	open_address(context);
	while (listen_port(listener) != address->port)
		listener++;
	if (connect_to(address) < 0 || accept(listener, NULL, NULL) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		_exit(1);
	bound = socket(AF_INET, SOCK_DGRAM, 0);
	connected = socket(AF_INET, SOCK_DGRAM, 0);
	if (bind(bound, (const struct sockaddr *)&udp.sa, udp.size) < 0 ||
	    connect(connected, (const struct sockaddr *)&udp.sa, udp.size) < 0)
		_exit(1);
}

/* A copy of one, be it for an instant, would change what its owner's close(2) does. */
START_TEST(connections_are_not_touched)
{
	struct address address = inet(ADDRESS_TCP, false, free_port(SOCK_STREAM));
	struct holder holder = hold(open_many, &address);
	struct takeback set = sockets_of(&holder);

	ck_assert_uint_eq(set.count, 2);
	ck_assert_uint_eq(set.copied, 2);
	takeback_finish(&set);
	release(&holder);
}
END_TEST

START_TEST(the_dead_have_none)
{
	struct address address = inet(ADDRESS_TCP, false, free_port(SOCK_STREAM));
	struct listen_spec spec = spec_of(&address);
	struct holder holder = hold(NULL, NULL);
	struct takeback set = { .list = NULL };
	struct listening made;

	ck_assert_int_eq(listen_open(&spec, &made, &failed), 0);
	identify(&holder);
	kill(holder.pid, SIGKILL);
	waitpid(holder.pid, NULL, 0);
	ck_assert_int_eq(takeback_collect(&set, holder.pidfd, holder.pid, &failed), -ESRCH);
	/* The pid is that of a stranger now, here of this very process; the pidfd is not. */
	ck_assert_int_eq(takeback_collect(&set, holder.pidfd, getpid(), &failed), -ESRCH);
	ck_assert_str_eq(failed, "pidfd_getfd");
	ck_assert_uint_eq(set.count, 0);
	listen_close(&made);
	close(holder.pidfd);
	takeback_finish(&set);
}
END_TEST

static void open_unfit(void *context)
{
	const struct address *address = context;
	struct listen_spec spec = spec_of(address);
	struct address udp = inet(ADDRESS_UDP, false, address->port);
	struct listening made;
	int one = 1, fd;

	/* shut down; its number is free for the next */
	if (listen_open(&spec, &made, &failed) < 0 || shutdown(made.fd, SHUT_RDWR) < 0)
		_exit(1);
	/* one of a group, and a connection */
	fd = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
	if (bind(fd, (const struct sockaddr *)&address->sa, address->size) < 0 || listen(fd, 1) < 0)
		_exit(2);
	if (connect_to(address) < 0)
		_exit(3);
	/* a datagram socket of one peer */
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (bind(fd, (struct sockaddr *)&udp.sa, udp.size) < 0 ||
	    connect(fd, (struct sockaddr *)&udp.sa, udp.size) < 0)
		_exit(4);
}

START_TEST(what_does_not_fit_stays)
{
	struct address address = inet(ADDRESS_TCP, false, free_port(SOCK_STREAM));
	struct address udp = inet(ADDRESS_UDP, false, address.port);
	struct holder holder = hold(open_unfit, &address);
	struct takeback set = sockets_of(&holder);
	struct listening got;

	ck_assert_int_eq(take(&set, &address, &got), 0);
	ck_assert_int_eq(take(&set, &udp, &got), 0);
	takeback_finish(&set);
	release(&holder);
}
END_TEST

/* 0: as it was made, 1: made over a left-over, so it is called PATH.PID. */
START_TEST(a_path_is_taken_back)
{
	struct address address = local(path, false);
	struct holder holder;
	struct takeback set;
	struct listening got;
	struct stat before, after;
	int client;

	if (_i == 1) {
		int left = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

		ck_assert_int_eq(bind(left, (struct sockaddr *)&address.sa, address.size), 0);
		close(left);
	}
	holder = hold(open_address, &address);
	ck_assert_int_eq(lstat(path, &before), 0);
	client = connect_to(&address);
	ck_assert_int_ge(client, 0);
	set = sockets_of(&holder);
	ck_assert_int_eq(take(&set, &address, &got), 1);
	ck_assert_int_eq(lstat(path, &after), 0);
	ck_assert_uint_eq(after.st_ino, before.st_ino);
	ck_assert_uint_eq(after.st_mode & 0777, 0640);
	ck_assert_uint_eq(got.ino, before.st_ino);
	ck_assert_str_eq(got.path, ""); /* it is theirs */
	ck_assert_int_eq(listen_unlink_own(&got, &failed), 0);
	ck_assert_int_eq(access(path, F_OK), 0);
	release(&holder);
	snprintf(got.path, sizeof got.path, "%s", path);
	listen_close(&got);
	ck_assert_int_eq(access(path, F_OK), -1);
	close(client);
	takeback_finish(&set);
}
END_TEST

/* A hung orphan's: nobody can connect any more. Who it is takes CAP_NET_ADMIN then. */
START_TEST(a_path_whose_queue_is_full)
{
	struct address address = local(path, false);
	struct holder holder = hold(open_address, &address);
	struct takeback set;
	struct listening got;
	int clients[128], count = 0, probe;

	for (; count < 128; count++) {
		clients[count] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (connect(clients[count], (struct sockaddr *)&address.sa, address.size) < 0)
			break;
	}
	ck_assert_int_lt(count, 128);
	ck_assert_int_eq(errno, EAGAIN);
	set = sockets_of(&holder);
	ck_assert_int_ge(set.count, 1);
	probe = ioctl(set.list[0].fd, SIOCPROTOPRIVATE); /* SIOCUNIXFILE */
	ck_assert_int_eq(take(&set, &address, &got), probe >= 0);
	if (probe >= 0) {
		int client = accept4(got.fd, NULL, NULL, SOCK_CLOEXEC);

		ck_assert_int_ge(client, 0); /* the queue came along */
		close(client);
		listen_close(&got);
		close(probe);
	}
	takeback_finish(&set);
	release(&holder);
	for (int i = 0; i <= count; i++)
		close(clients[i]);
}
END_TEST

/* 0: it is gone, 1: another's socket has its name, 2: a file has. */
START_TEST(a_path_that_leads_elsewhere)
{
	struct address address = local(path, false);
	struct holder holder = hold(open_address, &address), other = { .pid = -1 };
	struct takeback set = sockets_of(&holder);
	struct listening got;

	ck_assert_int_eq(unlink(path), 0);
	if (_i == 1)
		other = hold(open_address, &address);
	if (_i == 2)
		close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	ck_assert_int_eq(take(&set, &address, &got), 0);
	takeback_finish(&set);
	release(&holder);
	if (other.pid > 0)
		release(&other);
}
END_TEST

START_TEST(an_abstract_name)
{
	struct address address, other;
	struct holder holder;
	struct takeback set;
	struct listening got;
	char name[64];

	snprintf(name, sizeof name, "clusterd-takeback-%d", (int)getpid());
	address = local(name, true);
	name[1]++;
	other = local(name, true);
	holder = hold(open_address, &address);
	set = sockets_of(&holder);
	ck_assert_int_eq(take(&set, &other, &got), 0);
	ck_assert_int_eq(take(&set, &address, &got), 1);
	listen_close(&got);
	takeback_finish(&set);
	release(&holder);
}
END_TEST

START_TEST(nonblock_is_only_added)
{
	struct address address = inet(ADDRESS_TCP, false, free_port(SOCK_STREAM));
	struct listen_spec spec = spec_of(&address);
	struct holder holder = hold(open_address, &address);
	struct takeback set = sockets_of(&holder);
	struct listening got;

	spec.nonblock = true;
	ck_assert_int_eq(takeback_take(&set, &spec, &got, &failed), 1);
	ck_assert_int_ne(fcntl(got.fd, F_GETFL) & O_NONBLOCK, 0);
	takeback_finish(&set);
	close(got.fd);
	set = sockets_of(&holder);
	spec.nonblock = false;
	ck_assert_int_eq(takeback_take(&set, &spec, &got, &failed), 1);
	ck_assert_int_ne(fcntl(got.fd, F_GETFL) & O_NONBLOCK, 0);
	takeback_finish(&set);
	close(got.fd);
	release(&holder);
}
END_TEST

/* ---- its group ---- */

static bool kernel_knows_groups(void)
{
	struct utsname name;
	int major = 0, minor = 0;

	uname(&name);
	sscanf(name.release, "%d.%d", &major, &minor);
	return major > 6 || (major == 6 && minor >= 9);
}

static void open_child(void *context)
{
	const int *link = context;

	if (fork() == 0)
		pause();
	close(link[1]);
}

/* The child holds the other end of a pipe: it has ended when that is closed. */
START_TEST(the_group_of_the_dead)
{
	int link[2];
	struct holder holder;
	struct pollfd watch = { .events = POLLIN };

	ck_assert_int_eq(pipe(link), 0);
	holder = hold(open_child, link);
	close(link[1]);
	watch.fd = link[0];
	identify(&holder);
	if (_i == 0) {
		ck_assert_int_eq(takeback_signal_group(holder.pidfd, holder.pid, SIGKILL), 0);
	} else {
		kill(holder.pid, SIGKILL);
		waitpid(holder.pid, NULL, 0);
		ck_assert_int_eq(takeback_signal_group(holder.pidfd, holder.pid, SIGKILL),
				 kernel_knows_groups() ? 0 : -ESRCH);
		if (!kernel_knows_groups())
			kill(-holder.pid, SIGKILL);
	}
	ck_assert_int_eq(poll(&watch, 1, DEADLINE_MS), 1);
	ck_assert_int_ne(watch.revents & POLLHUP, 0);
	waitpid(holder.pid, NULL, 0);
	close(holder.pidfd);
	close(link[0]);
}
END_TEST

/* ---- rows ---- */

static void row_of(char letter, char ret[ROWFILE_ROW])
{
	memset(ret, letter, ROWFILE_ROW);
	ret[ROWFILE_ROW - 1] = '\n';
}

START_TEST(rows_stay_where_they_are)
{
	struct rowfile file, second = { .file.fd = -7 };
	char a[ROWFILE_ROW], b[ROWFILE_ROW], got[ROWFILE_ROW];
	struct stat info;

	row_of('a', a);
	row_of('b', b);
	ck_assert_int_eq(rowfile_open(path, &file, &failed), 0);
	ck_assert_uint_eq(file.rows, 0);
	ck_assert_int_eq(rowfile_read(&file, 0, got), -ENODATA);
	ck_assert_int_eq(rowfile_write(&file, 0, a), 0);
	ck_assert_int_eq(rowfile_write(&file, 2, a), 0);
	ck_assert_int_eq(rowfile_write(&file, 2, b), 0);
	ck_assert_int_eq(rowfile_open(path, &second, &failed), -EWOULDBLOCK);
	ck_assert_int_eq(second.file.fd, -7);
	rowfile_close(&file, false);
	ck_assert_int_eq(file.file.fd, -1);
	ck_assert_int_eq(stat(path, &info), 0);
	ck_assert_uint_eq(info.st_mode & 0777, 0600);
	ck_assert_int_eq(truncate(path, 3 * ROWFILE_ROW + 5), 0);
	ck_assert_int_eq(rowfile_open(path, &file, &failed), 0);
	ck_assert_uint_eq(file.rows, 3);
	ck_assert_int_eq(rowfile_read(&file, 2, got), 0);
	ck_assert_mem_eq(got, b, ROWFILE_ROW);
	ck_assert_int_eq(rowfile_read(&file, 3, got), -ENODATA);
	ck_assert_int_eq(rowfile_clear(&file, &failed), 0);
	ck_assert_uint_eq(file.rows, 0);
	ck_assert_int_eq(rowfile_read(&file, 0, got), -ENODATA);
	rowfile_close(&file, true);
	ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

START_TEST(what_others_may_write_is_refused)
{
	struct rowfile file = { .file.fd = -7 };
	char name[ROWFILE_PATH_MAX + 1];

	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	ck_assert_int_eq(chmod(path, _i == 0 ? 0620 : 0602), 0);
	ck_assert_int_eq(rowfile_open(path, &file, &failed), -EPERM);
	ck_assert_int_eq(chmod(path, 0600), 0);
	if (geteuid() == 0) {
		ck_assert_int_eq(chown(path, 65534, 65534), 0);
		ck_assert_int_eq(rowfile_open(path, &file, &failed), -EPERM);
	}
	memset(name, 'x', sizeof name - 1);
	name[sizeof name - 1] = '\0';
	ck_assert_int_eq(rowfile_open(name, &file, &failed), -ENAMETOOLONG);
	ck_assert_int_eq(file.file.fd, -7);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, only_the_very_process);
	tcase_add_loop_test(tests, inet_is_taken_back, 0, 4);
	tcase_add_test(tests, one_of_each);
	tcase_add_test(tests, connections_are_not_touched);
	tcase_add_test(tests, the_dead_have_none);
	tcase_add_test(tests, what_does_not_fit_stays);
	tcase_add_loop_test(tests, a_path_is_taken_back, 0, 2);
	tcase_add_test(tests, a_path_whose_queue_is_full);
	tcase_add_loop_test(tests, a_path_that_leads_elsewhere, 0, 3);
	tcase_add_test(tests, an_abstract_name);
	tcase_add_test(tests, nonblock_is_only_added);
	tcase_add_loop_test(tests, the_group_of_the_dead, 0, 2);
	tcase_add_test(tests, rows_stay_where_they_are);
	tcase_add_loop_test(tests, what_others_may_write_is_refused, 0, 2);
}

int main(void)
{
	return run_suite("os/takeback", add_tests);
}
