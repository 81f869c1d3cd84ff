/*
 * listen: catalogue rows K1, K2, K4, M9, M10 and the two supervisors of M11.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/os/listen.h"
#include "supervisor/os/unixdiag.h"
#include "tests/unit/suite.h"

enum { DEADLINE_MS = 10000, NOBODY = 65534 };

static char folder[] = "/tmp/clusterd-listen-XXXXXX";
static char socket_path[64];

static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(socket_path, sizeof socket_path, "%s/s", folder);
}

static void teardown(void)
{
	char command[128];

	snprintf(command, sizeof command, "rm -rf %s", folder);
	ck_assert_int_eq(system(command), 0);
	snprintf(folder, sizeof folder, "/tmp/clusterd-listen-XXXXXX");
}

static struct address inet4(enum address_kind kind, uint16_t port)
{
	struct address address = { .kind = kind, .port = port, .size = sizeof(struct sockaddr_in) };
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(port) };

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	memcpy(&address.sa, &sin, sizeof sin);
	return address;
}

static struct address inet6(bool any, uint16_t port)
{
	struct address address = { .kind = ADDRESS_TCP, .any = any, .port = port };
	struct sockaddr_in6 sin = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

	if (!any)
		sin.sin6_addr = in6addr_loopback;
	address.size = sizeof sin;
	memcpy(&address.sa, &sin, sizeof sin);
	return address;
}

static struct address local(const char *path, bool abstract)
{
	struct address address = { .kind = ADDRESS_UNIX };
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	size_t length = strlen(path);

	memcpy(sun.sun_path + abstract, path, length);
	memcpy(&address.sa, &sun, sizeof sun);
	address.size = (uint16_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
	return address;
}

static struct listen_spec spec_of(const struct address *address)
{
	return (struct listen_spec){ .address = address,
				     .backlog = 128,
				     .mode = 0666,
				     .owner = LISTEN_KEEP_UID,
				     .group = LISTEN_KEEP_GID };
}

static int try_open(const struct address *address, struct listening *ret)
{
	struct listen_spec spec = spec_of(address);
	const char *failed = NULL;

	return listen_open(&spec, ret, &failed);
}

static struct listening must_open(const struct address *address)
{
	struct listen_spec spec = spec_of(address);
	struct listening made;
	const char *failed = NULL;
	int error = listen_open(&spec, &made, &failed);

	ck_assert_msg(error == 0, "%s: %s", failed, strerror(-error));
	ck_assert_int_eq(fcntl(made.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	return made;
}

static int connect_to(const struct sockaddr *sa, socklen_t size)
{
	int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, sa, size) == 0)
		return fd;
	close(fd);
	return -1;
}

static bool reachable4(int port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	int fd;

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = connect_to((const struct sockaddr *)&sin, sizeof sin);
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

static bool reachable(const struct address *address)
{
	int fd = connect_to((const struct sockaddr *)&address->sa, address->size);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

START_TEST(tcp4)
{
	struct address address = inet4(ADDRESS_TCP, 0);
	struct listening first = must_open(&address), second;
	int port = listen_port(first.fd);

	ck_assert_int_gt(port, 0);
	ck_assert(reachable4(port));
	address = inet4(ADDRESS_TCP, (uint16_t)port);
	ck_assert_int_eq(try_open(&address, &second), -EADDRINUSE);
	listen_close(&first);
	second = must_open(&address); /* although a connection is in TIME_WAIT */
	listen_close(&second);
}
END_TEST

START_TEST(dual_stack)
{
	struct address address = inet6(true, 0);
	struct listening any = must_open(&address), second;
	int port = listen_port(any.fd);

	ck_assert(reachable4(port));
	address = inet4(ADDRESS_TCP, (uint16_t)port);
	ck_assert_int_eq(try_open(&address, &second), -EADDRINUSE);
	listen_close(&any);
}
END_TEST

START_TEST(ipv6_host_is_v6only)
{
	struct address address = inet6(false, 0);
	bool apart = false;

	/* Somebody else may have the same port of IPv4: some other port then shows it. */
	for (int tries = 0; tries < 10 && !apart; tries++) {
		struct listening made;
		int only = 0, error = try_open(&address, &made);
		socklen_t size = sizeof only;

		if (error == -EAFNOSUPPORT || error == -EADDRNOTAVAIL)
			return; /* a machine without IPv6 */
		ck_assert_int_eq(error, 0);
		ck_assert_int_eq(getsockopt(made.fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, &size), 0);
		ck_assert_int_eq(only, 1);
		apart = !reachable4(listen_port(made.fd));
		listen_close(&made);
	}
	ck_assert(apart);
}
END_TEST

/* A filter of seccomp(2) is the kernel that was built, or started, without IPv6. */
static void forbid_ipv6(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAFNOSUPPORT),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof code / sizeof *code, code };

	ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

START_TEST(any_address_without_ipv6)
{
	struct address address = inet6(true, 0);
	struct listening any;

	forbid_ipv6();
	any = must_open(&address);
	ck_assert_int_eq(any.sa.ss_family, AF_INET);
	ck_assert(reachable4(listen_port(any.fd)));
	listen_close(&any);
}
END_TEST

START_TEST(udp)
{
	struct address address = inet4(ADDRESS_UDP, 0);
	struct listening first = must_open(&address), second;
	struct listen_facts facts;
	const char *failed;

	address = inet4(ADDRESS_UDP, (uint16_t)listen_port(first.fd));
	ck_assert_int_eq(try_open(&address, &second), -EADDRINUSE);
	ck_assert_int_eq(listen_inspect(first.fd, &facts, &failed), 0);
	ck_assert_int_eq(facts.type, SOCK_DGRAM);
	ck_assert_int_eq(listen_check_inherited(first.fd, &second, &failed), 0);
	listen_close(&first);
}
END_TEST

/* reliability 0.6: a shared port still refuses a stranger who binds as we do. */
START_TEST(shared_port_has_one_founder)
{
	struct address address = inet4(ADDRESS_TCP, 0);
	struct listen_spec spec = spec_of(&address);
	struct listening first, second;
	const char *failed;

	spec.share_port = true;
	ck_assert_int_eq(listen_open(&spec, &first, &failed), 0);
	address = inet4(ADDRESS_TCP, (uint16_t)listen_port(first.fd));
	ck_assert_int_eq(listen_open(&spec, &second, &failed), -EADDRINUSE);
	ck_assert_str_eq(failed, "bind");
	listen_close(&first);
}
END_TEST

START_TEST(unix_path_mode_and_owner)
{
	struct address address = local(socket_path, false);
	struct listen_spec spec = spec_of(&address);
	struct listening made;
	struct stat info;
	const char *failed = NULL;

	umask(077);
	spec.mode = 0620;
	spec.owner = geteuid() == 0 ? NOBODY : LISTEN_KEEP_UID;
	spec.group = geteuid() == 0 ? NOBODY : LISTEN_KEEP_GID;
	ck_assert_int_eq(listen_open(&spec, &made, &failed), 0);
	ck_assert_int_eq(stat(socket_path, &info), 0);
	ck_assert_int_eq(info.st_mode & 07777, 0620);
	ck_assert_uint_eq(info.st_uid, geteuid() == 0 ? NOBODY : geteuid());
	ck_assert_uint_eq(info.st_ino, made.ino);
	ck_assert(reachable(&address));
	listen_close(&made);
	ck_assert_int_eq(stat(socket_path, &info), -1);
}
END_TEST

/* M9 */
START_TEST(stale_path_is_replaced)
{
	struct address address = local(socket_path, false);
	struct listening dead = must_open(&address), made;
	struct dirent **entries;

	close(dead.fd); /* and no unlink: a crash */
	made = must_open(&address);
	ck_assert(made.ino != dead.ino);
	ck_assert(reachable(&address));
	ck_assert_int_eq(scandir(folder, &entries, NULL, NULL), 3); /* . .. s: nothing left over */
	for (int i = 0; i < 3; i++)
		free(entries[i]);
	free(entries);
	dead.fd = -1;
	listen_close(&dead); /* not its file any more */
	ck_assert(reachable(&address));
	listen_close(&made);
}
END_TEST

/* Nothing longer fits beside it; or what is beside it was left there by a start that was killed. */
START_TEST(stale_path_without_room_beside_it)
{
	enum { LONGEST = 107 };
	char path[LONGEST + 1], beside[LONGEST + 16];
	struct address address;
	struct listening dead, other = { .fd = -1 }, made;

	snprintf(path, sizeof path, "%s/%0*d", folder, _i == 0 ? LONGEST - (int)strlen(folder) - 1 : 4, 0);
	address = local(path, false);
	dead = must_open(&address);
	close(dead.fd);
	if (_i == 1) {
		snprintf(beside, sizeof beside, "%s.%d", path, (int)getpid());
		address = local(beside, false);
		other = must_open(&address);
		close(other.fd);
		address = local(path, false);
	}
	made = must_open(&address);
	ck_assert(reachable(&address));
	ck_assert_int_eq(listen_pid_at(path), getpid());
	listen_close(&made);
	ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

/* The path belongs to who listens there, also when the socket was made beside a dead one. */
START_TEST(path_is_claimed_again)
{
	struct address address = local(socket_path, false);
	struct listening made = must_open(&address), got;
	const char *failed;

	if (_i == 1) {
		close(made.fd);
		made = must_open(&address);
	}
	ck_assert_int_eq(listen_pid_at(socket_path), getpid());
	ck_assert_int_eq(listen_check_inherited(made.fd, &got, &failed), 0);
	ck_assert(listen_claim(&got));
	ck_assert_str_eq(got.path, socket_path);
	ck_assert(got.dev == made.dev && got.ino == made.ino);
	listen_close(&got);
	ck_assert_int_eq(access(socket_path, F_OK), -1);
	ck_assert_int_eq(listen_pid_at(socket_path), 0);
}
END_TEST

START_TEST(lost_path_is_seen)
{
	struct address address = local(socket_path, false);
	struct listening made = must_open(&address), other;

	ck_assert_int_eq(listen_path_lost(&made, socket_path), 0);
	ck_assert_int_eq(unlink(socket_path), 0);
	ck_assert_int_eq(listen_path_lost(&made, socket_path), 1);
	other = must_open(&address);
	ck_assert_int_eq(listen_path_lost(&made, socket_path), 1);
	ck_assert_int_eq(listen_path_lost(&other, socket_path), 0);
	listen_close(&made);
	ck_assert_int_eq(listen_path_lost(&other, socket_path), 0);
	listen_close(&other);
	made.ino = 0; /* whose it was is not known: only that there is none */
	ck_assert_int_eq(listen_path_lost(&made, socket_path), 1);
	ck_assert_int_eq(listen_path_lost(&made, "/dev/null"), 0);
	ck_assert_int_eq(listen_path_lost(&made, "/dev/null/x"), -ENOTDIR);
}
END_TEST

START_TEST(path_of_another_is_not_claimed)
{
	struct address address = local(socket_path, false), inet = inet4(ADDRESS_TCP, 0);
	struct listening made = must_open(&address), tcp = must_open(&inet), got;
	const char *failed;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		listen_check_inherited(made.fd, &got, &failed);
		_exit(listen_claim(&got) || got.ino || got.path[0]);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert(!listen_claim(&tcp));
	unlink(socket_path);
	ck_assert_int_eq(listen_check_inherited(made.fd, &got, &failed), 0);
	ck_assert(!listen_claim(&got));
	close(made.fd);
	listen_close(&tcp);
}
END_TEST

START_TEST(live_path_is_refused)
{
	struct address address = local(socket_path, false);
	struct listening first = must_open(&address), second;

	ck_assert_int_eq(try_open(&address, &second), -EADDRINUSE);
	ck_assert(reachable(&address));
	listen_close(&first);
}
END_TEST

START_TEST(foreign_files_are_refused)
{
	static const char *const commands[] = { "touch", "mkdir", "ln -s /nowhere", "mkfifo" };
	struct address address = local(socket_path, false);
	struct listening made;
	struct stat before, after;
	char command[128];

	snprintf(command, sizeof command, "%s %s", commands[_i], socket_path);
	ck_assert_int_eq(system(command), 0);
	ck_assert_int_eq(lstat(socket_path, &before), 0);
	ck_assert_int_eq(try_open(&address, &made), -ENOTSOCK);
	ck_assert_int_eq(lstat(socket_path, &after), 0);
	ck_assert_uint_eq(before.st_ino, after.st_ino);
}
END_TEST

/* M11: of many that start at once, on a left-over or on nothing, one wins and stays reachable. */
START_TEST(simultaneous_starts)
{
	struct address address = local(socket_path, false);
	struct listening dead = must_open(&address), made;
	int gate[2], won[2], winners = 0;
	pid_t children[20];
	char byte;

	if (_i == 0)
		close(dead.fd);
	else
		listen_close(&dead);
	ck_assert_int_eq(pipe(gate), 0);
	ck_assert_int_eq(pipe(won), 0);
	for (int i = 0; i < 20; i++) {
		children[i] = fork();
		if (children[i] == 0) {
			int error;

			close(gate[1]);
			if (read(gate[0], &byte, 1) != 0)
				_exit(2);
			error = try_open(&address, &made);
			byte = error == 0 ? 'y' : error == -EADDRINUSE ? 'n' : 'x';
			if (write(won[1], &byte, 1) == 1 && !error)
				pause();
			_exit(0);
		}
	}
	close(gate[1]);
	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(
		    poll(&(struct pollfd){ .fd = won[0], .events = POLLIN }, 1, DEADLINE_MS), 1);
		ck_assert_int_eq(read(won[0], &byte, 1), 1);
		winners += byte == 'y';
		ck_assert_int_ne(byte, 'x');
	}
	ck_assert_int_eq(winners, 1);
	ck_assert(reachable(&address));
	for (int i = 0; i < 20; i++) {
		kill(children[i], SIGKILL); /* a zombie does not mind */
		ck_assert_int_eq(waitpid(children[i], NULL, 0), children[i]);
	}
}
END_TEST

START_TEST(abstract)
{
	char name[64];
	struct address address;
	struct listening first, second;

	snprintf(name, sizeof name, "clusterd-test-%d", (int)getpid());
	address = local(name, true);
	first = must_open(&address);
	ck_assert(reachable(&address));
	ck_assert_int_eq(try_open(&address, &second), -EADDRINUSE);
	listen_close(&first);
	/* With a connection in its queue it is closed by a thread. */
	for (int tries = 0; reachable(&address); tries++) {
		ck_assert_int_lt(tries, 5000);
		usleep(1000);
	}
}
END_TEST

/* K1: whichever way a worker does it, the port is back, also one the kernel chose. */
static void shut_read(int fd)
{
	shutdown(fd, SHUT_RD);
}

static void shut_both(int fd)
{
	shutdown(fd, SHUT_RDWR);
}

static void disconnect(int fd)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	connect(fd, &none, sizeof none);
}

static void (*const attacks[])(int) = { shut_read, shut_both, disconnect };

START_TEST(repair)
{
	struct address address = inet4(ADDRESS_TCP, 0);
	struct listening made = must_open(&address);
	int port = listen_port(made.fd);
	const char *failed;

	ck_assert_int_eq(listen_is_down(made.fd), 0);
	for (int i = 0; i < 300; i++) {
		attacks[_i](made.fd);
		ck_assert_int_eq(listen_is_down(made.fd), 1);
		ck_assert_int_eq(poll(&(struct pollfd){ .fd = made.fd }, 1, DEADLINE_MS), 1);
		ck_assert_int_eq(listen_repair(&made, 128, &failed), 0);
		ck_assert_int_eq(listen_is_down(made.fd), 0);
		ck_assert_int_eq(listen_port(made.fd), port);
	}
	ck_assert(reachable4(port));
	listen_close(&made);
}
END_TEST

/* K2: a unix socket is beyond repair; it is seen, and the path is replaced. */
START_TEST(unix_shutdown)
{
	struct address address = local(socket_path, false);
	struct listening made = must_open(&address), again;
	struct pollfd watch = { .fd = made.fd, .events = POLLRDHUP };

	ck_assert_int_eq(listen_is_down(made.fd), 0);
	attacks[_i](made.fd);
	ck_assert_int_eq(poll(&watch, 1, DEADLINE_MS), 1);
	ck_assert_int_eq(listen_is_down(made.fd), 1);
	again = must_open(&address);
	ck_assert(reachable(&address));
	listen_close(&made);
	ck_assert(reachable(&address)); /* M10: the old owner does not remove the new file */
	listen_close(&again);
}
END_TEST

/* ---- K4: what workers change is put back ---- */

static int number_of(int fd, int name)
{
	int value = -1;
	socklen_t size = sizeof value;

	ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, name, &value, &size), 0);
	return value;
}

static void set_number(int fd, int name, int value)
{
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, name, &value, sizeof value), 0);
}

static uint32_t limit_of(int fd)
{
	uint32_t queue, limit;

	ck_assert_int_eq(listen_queue(fd, &queue, &limit), 0);
	return limit;
}

static struct listen_keep keep_of(int fd, int backlog)
{
	struct listen_keep keep;
	const char *failed;

	ck_assert_int_eq(listen_keep_init(fd, backlog, true, &keep, &failed), 0);
	return keep;
}

START_TEST(what_waits_at_a_unix_socket)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	socklen_t size = sizeof name;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint32_t queue = 9, limit = 9;

	ck_assert_int_eq(bind(fd, (const struct sockaddr *)&name, sizeof name.sun_family), 0);
	ck_assert_int_eq(unixdiag_queue(fd, &queue, &limit), -EOPNOTSUPP);
	ck_assert_uint_eq(queue, 9);
	ck_assert_int_eq(listen(fd, 77), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&name, &size), 0);
	for (int i = 0; i < 3; i++)
		ck_assert_int_ge(connect_to((const struct sockaddr *)&name, size), 0);
	ck_assert_int_eq(unixdiag_queue(fd, &queue, &limit), 0);
	ck_assert_uint_eq(queue, 3);
	ck_assert_uint_eq(limit, 77);
	ck_assert_int_eq(unixdiag_queue(0, &queue, &limit), -ENOENT); /* no unix socket */
	ck_assert_int_eq(unixdiag_queue(-1, &queue, &limit), -EBADF);
	close(fd);
}
END_TEST

START_TEST(what_a_full_queue_drops)
{
	struct address address = inet4(ADDRESS_TCP, 0);
	struct listening made = must_open(&address);
	uint32_t before, after, queue, limit;

	ck_assert_int_eq(listen(made.fd, 1), 0);
	for (int i = 0; i < 2; i++)
		ck_assert_int_ge(connect_to((const struct sockaddr *)&made.sa, made.size), 0);
	ck_assert_int_eq(listen_queue(made.fd, &queue, &limit), 0);
	ck_assert_uint_gt(queue, limit); /* that is full */
	ck_assert_int_eq(listen_dropped(made.fd, &before), 0);
	ck_assert_uint_eq(before, 0);
	ck_assert_int_lt(connect(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
				 (const struct sockaddr *)&made.sa, made.size), 0);
	ck_assert_int_eq(listen_dropped(made.fd, &after), 0);
	ck_assert_uint_gt(after, 0);
	ck_assert_int_eq(listen_dropped(-1, &after), -EBADF);
	listen_close(&made);
}
END_TEST

START_TEST(backlog_is_put_back)
{
	struct address address = inet4(ADDRESS_TCP, 0);
	struct listening made = must_open(&address);
	struct listen_keep keep = keep_of(made.fd, 64);
	uint32_t queue, limit;
	const char *failed;

	ck_assert_int_eq(listen(made.fd, 1), 0);
	ck_assert_uint_eq(limit_of(made.fd), 1);
	ck_assert_int_eq(listen_keep(made.fd, &keep, LISTEN_AS_WORKERS_LIKE, &failed), LISTEN_BACKLOG);
	ck_assert_int_eq(listen_keep(made.fd, &keep, LISTEN_AS_WORKERS_LIKE, &failed), 0);
	for (int i = 0; i < 3; i++)
		ck_assert_int_ge(connect_to((const struct sockaddr *)&made.sa, made.size), 0);
	ck_assert_int_eq(listen_queue(made.fd, &queue, &limit), 0);
	ck_assert_uint_eq(queue, 3);
	ck_assert_uint_eq(limit, 64);
	ck_assert_int_eq(listen(made.fd, 4096), 0); /* more is not ours either */
	ck_assert_int_eq(listen_keep(made.fd, &keep, LISTEN_AS_WORKERS_LIKE, &failed), LISTEN_BACKLOG);
	ck_assert_uint_eq(limit_of(made.fd), 64);
	listen_close(&made);
}
END_TEST

/* The kernel cuts it: that is no change by a worker. */
START_TEST(backlog_beyond_somaxconn)
{
	struct address address = inet4(ADDRESS_TCP, 0);
	struct listening made = must_open(&address);
	struct listen_keep keep = keep_of(made.fd, 1 << 20);
	const char *failed;

	listen_keep(made.fd, &keep, LISTEN_AS_WORKERS_LIKE, &failed);
	ck_assert_uint_lt(keep.limit, 1 << 20);
	ck_assert_int_eq(listen_keep(made.fd, &keep, LISTEN_AS_WORKERS_LIKE, &failed), 0);
	listen_close(&made);
}
END_TEST

/* Repair is another matter: a port that the kernel chose would change. */
START_TEST(keep_leaves_a_dead_socket_alone)
{
	struct address address = inet4(ADDRESS_TCP, 0);
	struct listening made = must_open(&address);
	struct listen_keep keep = keep_of(made.fd, 64);
	const char *failed;

	shutdown(made.fd, SHUT_RDWR);
	ck_assert_int_eq(listen_keep(made.fd, &keep, LISTEN_AS_WORKERS_LIKE, &failed), 0);
	ck_assert_int_eq(listen_is_down(made.fd), 1);
	listen_close(&made);
}
END_TEST

START_TEST(flags_are_put_back)
{
	static const struct {
		enum listen_blocking blocking;
		int set, what, left;
	} rows[] = {
		{ LISTEN_BLOCK, O_NONBLOCK, LISTEN_FLAGS, 0 },
		{ LISTEN_BLOCK, O_ASYNC, LISTEN_FLAGS, 0 },
		{ LISTEN_BLOCK, 0, 0, 0 },
		{ LISTEN_NONBLOCK, 0, LISTEN_FLAGS, O_NONBLOCK },
		{ LISTEN_NONBLOCK, O_NONBLOCK | O_ASYNC, LISTEN_FLAGS, O_NONBLOCK },
		{ LISTEN_NONBLOCK, O_NONBLOCK, 0, O_NONBLOCK },
		{ LISTEN_AS_WORKERS_LIKE, O_NONBLOCK | O_ASYNC, 0, O_NONBLOCK | O_ASYNC },
		{ LISTEN_AS_WORKERS_LIKE, 0, 0, 0 },
	};
	struct address addresses[] = { inet4(ADDRESS_TCP, 0), inet4(ADDRESS_UDP, 0), local(socket_path, false) };
	struct listening made = must_open(&addresses[_i]);
	struct listen_keep keep = keep_of(made.fd, 64);
	const char *failed;

	listen_keep(made.fd, &keep, LISTEN_AS_WORKERS_LIKE, &failed);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		ck_assert_int_eq(fcntl(made.fd, F_SETFL, rows[i].set), 0);
		ck_assert_int_eq(listen_keep(made.fd, &keep, rows[i].blocking, &failed), rows[i].what);
		ck_assert_int_eq(fcntl(made.fd, F_GETFL) & (O_NONBLOCK | O_ASYNC), rows[i].left);
	}
	listen_close(&made);
}
END_TEST

START_TEST(options_are_put_back)
{
	static const int limits[] = { SO_RCVTIMEO, SO_SNDTIMEO }, buffers[] = { SO_RCVBUF, SO_SNDBUF };
	struct address addresses[] = { inet4(ADDRESS_TCP, 0), inet4(ADDRESS_UDP, 0), local(socket_path, false) };
	struct listening made = must_open(&addresses[_i]);
	struct listen_keep keep = keep_of(made.fd, 64);
	struct timeval second = { .tv_sec = 1 }, now;
	const char *failed;

	listen_keep(made.fd, &keep, LISTEN_BLOCK, &failed);
	for (int i = 0; i < 2; i++) {
		int before = number_of(made.fd, buffers[i]);
		socklen_t size = sizeof now;

		setsockopt(made.fd, SOL_SOCKET, limits[i], &second, sizeof second);
		set_number(made.fd, buffers[i], 5000);
		ck_assert_int_eq(listen_keep(made.fd, &keep, LISTEN_AS_WORKERS_LIKE, &failed), 0);
		ck_assert_int_ne(number_of(made.fd, buffers[i]), before);
		ck_assert_int_eq(listen_keep(made.fd, &keep, LISTEN_BLOCK, &failed), LISTEN_TIMEOUTS | LISTEN_BUFFERS);
		ck_assert_int_eq(number_of(made.fd, buffers[i]), before);
		ck_assert_int_eq(getsockopt(made.fd, SOL_SOCKET, limits[i], &now, &size), 0);
		ck_assert(now.tv_sec == 0 && now.tv_usec == 0);
		set_number(made.fd, buffers[i], before / 2); /* the same size, but no longer the kernel's choice */
		listen_keep(made.fd, &keep, LISTEN_BLOCK, &failed);
		ck_assert_int_eq(listen_keep(made.fd, &keep, LISTEN_BLOCK, &failed), 0);
	}
	listen_close(&made);
}
END_TEST

START_TEST(inherited_must_be_right)
{
	struct address address = inet4(ADDRESS_TCP, 0);
	struct listening made = must_open(&address), got;
	int plain = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int loose = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
	const char *failed;

	ck_assert_int_eq(listen_check_inherited(made.fd, &got, &failed), 0);
	ck_assert_int_eq(got.fd, made.fd);
	ck_assert_int_eq(listen_check_inherited(file, &got, &failed), -ENOTSOCK);
	ck_assert_int_eq(listen_check_inherited(-1, &got, &failed), -EBADF);
	ck_assert_int_eq(listen_check_inherited(plain, &got, &failed), -EINVAL);
	ck_assert_str_eq(failed, "not listening");
	ck_assert_int_eq(listen_check_inherited(loose, &got, &failed), -EINVAL);
	ck_assert_str_eq(failed, "not bound");
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, tcp4);
	tcase_add_test(tests, dual_stack);
	tcase_add_test(tests, ipv6_host_is_v6only);
	tcase_add_test(tests, any_address_without_ipv6);
	tcase_add_test(tests, udp);
	tcase_add_test(tests, shared_port_has_one_founder);
	tcase_add_test(tests, unix_path_mode_and_owner);
	tcase_add_test(tests, stale_path_is_replaced);
	tcase_add_loop_test(tests, stale_path_without_room_beside_it, 0, 2);
	tcase_add_loop_test(tests, path_is_claimed_again, 0, 2);
	tcase_add_test(tests, lost_path_is_seen);
	tcase_add_test(tests, path_of_another_is_not_claimed);
	tcase_add_test(tests, live_path_is_refused);
	tcase_add_loop_test(tests, foreign_files_are_refused, 0, 4);
	tcase_add_loop_test(tests, simultaneous_starts, 0, 2);
	tcase_add_test(tests, abstract);
	tcase_add_loop_test(tests, repair, 0, 3);
	tcase_add_loop_test(tests, unix_shutdown, 0, 2);
	tcase_add_test(tests, what_waits_at_a_unix_socket);
	tcase_add_test(tests, what_a_full_queue_drops);
	tcase_add_test(tests, backlog_is_put_back);
	tcase_add_test(tests, backlog_beyond_somaxconn);
	tcase_add_test(tests, keep_leaves_a_dead_socket_alone);
	tcase_add_loop_test(tests, flags_are_put_back, 0, 3);
	tcase_add_loop_test(tests, options_are_put_back, 0, 3);
	tcase_add_test(tests, inherited_must_be_right);
}

int main(void)
{
	return run_suite("os/listen", add_tests);
}
