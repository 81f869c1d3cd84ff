/*
 * inherit: catalogue row J4, the sockets that clusterd itself was started with.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/os/inherit.h"
#include "tests/unit/suite.h"

/* Each row runs in a child of its own, because it takes the fds 3 and 4. */
static const struct inherit_row {
	const char *pid, *fds, *names;
	int result;
} inherit_rows[] = {
	{ NULL, "2", NULL, 0 },          { "self", NULL, NULL, 0 },
	{ "1", "2", NULL, 0 },           { "self", "0", NULL, 0 },
	{ "self", "2", NULL, 2 },        { "self", "2", "a:b", 2 },
	{ "self", "2", ":b:c", 2 },      { "self", "x", NULL, -EINVAL },
	{ "x", "2", NULL, -EINVAL },     { "self", "-1", NULL, -EINVAL },
	{ "self", "65", NULL, -E2BIG },  { "self", "1000000", NULL, -E2BIG },
	{ "self", "", NULL, -EINVAL },   { "self", "60", NULL, -EBADF },
	{ "self", " 2", NULL, -EINVAL }, { "99999999999", "2", NULL, -EINVAL },
};

static int check_list(const struct inherit_row *row, const struct inherited *list)
{
	for (int i = 0; i < row->result; i++) {
		if (list[i].number != 3 + i || list[i].fd < INHERIT_BASE ||
		    fcntl(list[i].fd, F_GETFD) != FD_CLOEXEC)
			return 3;
	}
	if (row->result != 2 || !row->names)
		return 0;
	return strcmp(list[0].name, row->names[0] == ':' ? "" : "a") || strcmp(list[1].name, "b");
}

static int inherit_check(const struct inherit_row *row)
{
	struct inherited list[INHERIT_MAX];
	char pid[16];
	const char *listen_pid = row->pid, *failed;

	dup2(0, 3);
	dup2(0, 4);
	snprintf(pid, sizeof pid, "%d", (int)getpid());
	if (listen_pid && !strcmp(listen_pid, "self"))
		listen_pid = pid;
	if (inherit_take(listen_pid, row->fds, row->names, list, &failed) != row->result)
		return 1;
	if ((fcntl(3, F_GETFD) < 0) != (row->result > 0))
		return 2;
	return check_list(row, list);
}

START_TEST(inherit_env)
{
	int status;
	pid_t child = fork();

	if (child == 0)
		_exit(inherit_check(&inherit_rows[_i]));
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
}
END_TEST

/* What is close-on-exec was not passed but opened since, whatever LISTEN_FDS says. */
static int ours_check(void)
{
	struct inherited list[INHERIT_MAX];
	char pid[16];
	const char *failed;

	dup2(0, 3);
	dup3(0, 4, O_CLOEXEC);
	snprintf(pid, sizeof pid, "%d", (int)getpid());
	if (inherit_take(pid, "2", NULL, list, &failed) != -EBADF || strcmp(failed, "LISTEN_FDS") != 0)
		return 1;
	if (fcntl(3, F_GETFD) < 0 || fcntl(4, F_GETFD) < 0)
		return 2;
	return inherit_take(pid, "1", NULL, list, &failed) == 1 ? 0 : 3;
}

START_TEST(inherit_leaves_our_own)
{
	int status;
	pid_t child = fork();

	if (child == 0)
		_exit(ours_check());
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_loop_test(tests, inherit_env, 0, sizeof inherit_rows / sizeof *inherit_rows);
	tcase_add_test(tests, inherit_leaves_our_own);
}

int main(void)
{
	return run_suite("os/inherit", add_tests);
}
