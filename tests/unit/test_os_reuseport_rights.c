/* Who may do what: our own rights, what a worker may do to its socket, and strangers. */
#include <linux/capability.h>
#include <linux/filter.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/unit/group.h"
#include "tests/unit/suite.h"

#ifndef SO_ATTACH_REUSEPORT_CBPF
#define SO_ATTACH_REUSEPORT_CBPF 51
#endif
#ifndef SO_DETACH_REUSEPORT_BPF
#define SO_DETACH_REUSEPORT_BPF 68
#endif

START_TEST(filters_are_locked)
{
	struct sock_filter drop[] = { BPF_STMT(BPF_RET | BPF_K, 0) };
	struct sock_fprog program = { 1, drop };
	struct reuseport_params p = params(AF_INET, SOCK_STREAM, _i != 0);
	struct reuseport *g;
	int zero = 0, fd;

	if (_i != 0 && !can_steer())
		return;
	g = open_group(&p, 2);
	for (uint32_t slot = 0; slot < 2; slot++) {
		fd = reuseport_fd(g, slot);
		ck_assert_int_lt(
		    setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)), 0);
		ck_assert_int_eq(errno, EPERM);
		ck_assert_int_lt(
		    setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)),
		    0);
		ck_assert_int_eq(errno, EPERM);
		ck_assert_int_lt(setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &zero, sizeof(zero)),
				 0);
		ck_assert_int_eq(errno, EPERM);
	}
	reuseport_destroy(g);
}
END_TEST

START_TEST(detached_program_comes_back)
{
	struct reuseport_params p = params(AF_INET, SOCK_STREAM, true);
	unsigned served[CAPACITY];
	struct reuseport *g;

	if (!can_steer())
		return;
	g = open_group(&p, 4);
	STEER(g, 1);
	/* Should a kernel forbid this one day, the better. */
	setsockopt(reuseport_fd(g, 0), SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &(int){ 0 },
		   sizeof(int));
	ck_assert_int_eq(reuseport_reattach(g, &failed), 0);
	serve(g, 100, served);
	ck_assert_uint_eq(served[1], 100);
	reuseport_destroy(g);
}
END_TEST

static int stranger(const struct reuseport *g, bool share)
{
	const struct sockaddr_storage *to = reuseport_address(g);
	int fd = socket(to->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	if (share)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &(int){ 1 }, sizeof(int));
	if (bind(fd, (const struct sockaddr *)to, sizeof(*to)) == 0 && listen(fd, 16) == 0)
		return fd;
	share = errno == EADDRINUSE;
	close(fd);
	return share ? -EADDRINUSE : -1;
}

START_TEST(stranger_gets_nothing)
{
	struct reuseport_params p = params(AF_INET, SOCK_STREAM, true);
	unsigned served[CAPACITY];
	struct reuseport *g;
	int fd;

	if (!can_steer())
		return;
	g = open_group(&p, 4);
	fd = stranger(g, true);
	ck_assert_int_ge(fd, 0);
	nonblock(fd);
	serve(g, 1000, served);
	ck_assert_int_lt(accept(fd, NULL, NULL), 0);
	for (uint32_t slot = 0; slot < 4; slot++)
		ck_assert_uint_eq(served[slot], 250);
	close(fd);
	reuseport_destroy(g);
}
END_TEST

START_TEST(second_opener_is_refused)
{
	static const int types[] = { SOCK_STREAM, SOCK_DGRAM };
	struct reuseport_params p = params(AF_INET, types[_i / 2], _i % 2);
	struct reuseport *g, *other = NULL;

	if (p.steer && !can_steer())
		return;
	g = open_group(&p, 2);
	p.address = *reuseport_address(g);
	ck_assert_int_eq(reuseport_create(&p, &other, &failed), 0);
	ck_assert_int_eq(reuseport_add(other, 0, &failed), -EADDRINUSE);
	ck_assert_str_eq(failed, "bind");
	reuseport_destroy(g);
	ck_assert_int_eq(reuseport_add(other, 0, &failed), 0);
	reuseport_destroy(other);
}
END_TEST

/* CAP_BPF and no other right is enough for all of it. */
START_TEST(cap_bpf_alone_is_enough)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { 0 } };
	struct reuseport_params p =
	    params(_i % 2 ? AF_INET6 : AF_INET, _i / 2 ? SOCK_DGRAM : SOCK_STREAM, true);
	struct reuseport *g;

	if (!can_steer() || getuid() != 0)
		return;
	ck_assert_int_eq(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), 0);
	ck_assert_int_eq(setuid(65534), 0);
	data[CAP_TO_INDEX(CAP_BPF)].permitted = CAP_TO_MASK(CAP_BPF);
	data[CAP_TO_INDEX(CAP_BPF)].effective = CAP_TO_MASK(CAP_BPF);
	ck_assert_int_eq(syscall(SYS_capset, &header, data), 0);
	ck_assert_int_eq(reuseport_probe_kernel(), REUSEPORT_OK);
	p.probe_base = PROBE_BASE;
	g = open_group(&p, 4);
	STEER(g, 0, 2);
	if (p.type == SOCK_STREAM) {
		ck_assert_int_eq(served_by(g), 0);
		ck_assert_int_eq(served_by(g), 2);
		ck_assert_int_eq(reuseport_move_queue(g, 2, &failed), 0);
	}
	ck_assert_int_eq(reuseport_remove(g, 2, &failed), 0);
	reuseport_destroy(g);
}
END_TEST

static const struct {
	uint32_t capacity;
	uint16_t probe_base;
	int type;
	bool right; /* false: as nobody, without CAP_BPF */
	int error;
	const char *step;
} creations[] = {
	{ 0, 0, SOCK_STREAM, true, -EINVAL, "parameters" },
	{ REUSEPORT_SLOTS_MAX + 1, 0, SOCK_STREAM, true, -EINVAL, "parameters" },
	{ 16, 65530, SOCK_STREAM, true, -EINVAL, "parameters" },
	{ 16, 0, SOCK_RAW, true, -EINVAL, "parameters" },
	{ 1, 0, SOCK_STREAM, true, 0, NULL },
	{ REUSEPORT_SLOTS_MAX, 40000, SOCK_STREAM, true, 0, NULL },
	{ 4093, 40000, SOCK_DGRAM, true, 0, NULL },
	{ 16, 0, SOCK_STREAM, false, -EPERM, "bpf(BPF_MAP_CREATE)" },
};

static int create(int i)
{
	struct reuseport_params p = params(AF_INET, creations[i].type, true);
	struct reuseport *g = NULL;
	int error;

	p.capacity = creations[i].capacity;
	p.probe_base = creations[i].probe_base;
	error = reuseport_create(&p, &g, &failed);
	if (error != creations[i].error)
		return 1;
	if (error != 0 && strcmp(failed, creations[i].step) != 0)
		return 2;
	reuseport_destroy(g);
	return 0;
}

START_TEST(creation)
{
	pid_t pid;
	int status;

	if (!can_steer() || (!creations[_i].right && getuid() != 0))
		return;
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		if (!creations[_i].right && setuid(65534) < 0)
			_exit(3);
		if (!creations[_i].right && reuseport_probe_kernel() != REUSEPORT_NO_RIGHT)
			_exit(4);
		_exit(create(_i));
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_loop_test(tests, filters_are_locked, 0, 2);
	tcase_add_test(tests, detached_program_comes_back);
	tcase_add_test(tests, stranger_gets_nothing);
	tcase_add_loop_test(tests, second_opener_is_refused, 0, 4);
	tcase_add_loop_test(tests, cap_bpf_alone_is_enough, 0, 4);
	tcase_add_loop_test(tests, creation, 0, COUNT(creations));
}

int main(void)
{
	return run_suite("os/reuseport_rights", add_tests);
}
