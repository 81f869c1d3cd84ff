/* Whose socket it is, who may ask, and what becomes of the path. */
#include "supervisor/owner.h"
#include "tests/unit/control_rig.c"

/* ---- M1, M9, M11: the path ---- */

START_TEST(mode_and_owner)
{
	struct stat info;

	ck_assert_int_eq(stat(path, &info), 0);
	ck_assert_uint_eq(info.st_mode & 07777, 0600);
	ck_assert_uint_eq(info.st_uid, geteuid());
}
END_TEST

/* Its answer to a client of another uid, in a child. */
static void as_user(uid_t uid, gid_t gid, const char *want)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct sockaddr_un sa = { .sun_family = AF_UNIX };
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);
		char text[512];
		ssize_t n;

		strcpy(sa.sun_path, path);
		if (setregid(gid, gid) < 0 || setreuid(uid, uid) < 0)
			_exit(3);
		if (connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0)
			_exit(4);
		if (send(fd, "version\n", 8, MSG_NOSIGNAL) < 0)
			_exit(5);
		n = recv(fd, text, sizeof text - 1, 0);
		text[n > 0 ? n : 0] = '\0';
		_exit(strstr(text, want) ? 0 : 6);
	}
	while (waitpid(pid, &status, WNOHANG) == 0)
		uv_run(&s->loop, UV_RUN_NOWAIT);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "uid %u gid %u: %d", uid, gid,
	              WEXITSTATUS(status));
}

START_TEST(who_may_ask)
{
	char problem[CONTROL_PROBLEM_MAX];

	if (geteuid() != 0)
		return; /* other users can not be played without root */
	control_stop(s->control, 0);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	s->policy.control_mode = (struct optional){ true, 0666 };
	strcpy(s->policy.control_group, "1234");
	ck_assert_msg(control_start(s, &s->policy, "web", -1, &s->control, problem) == 0, "%s",
	              problem);
	ck_assert_int_eq(chmod(folder, 0711), 0);
	as_user(0, 0, "\"kind\":\"version\"");
	as_user(65534, 65534, "not permitted");
	as_user(65534, 1234, "\"kind\":\"version\"");
	as_user(1234, 65534, "not permitted");
}
END_TEST

START_TEST(second_server_is_refused)
{
	char problem[CONTROL_PROBLEM_MAX], want[32];
	struct control *second = NULL;

	ck_assert_int_eq(control_start(s, &s->policy, "web", -1, &second, problem), -EADDRINUSE);
	ck_assert_ptr_null(second);
	snprintf(want, sizeof want, "process %d", (int)getpid());
	ck_assert_msg(strstr(problem, want) != NULL, "%s", problem);
	ask("version\n");
	HAS("\"ok\":true");
}
END_TEST

START_TEST(stale_socket_is_replaced)
{
	char problem[CONTROL_PROBLEM_MAX];
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	control_stop(s->control, 0);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	strcpy(sa.sun_path, path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	close(fd); /* the file stays */
	ck_assert_int_eq(access(path, F_OK), 0);
	ck_assert_msg(control_start(s, &s->policy, "web", -1, &s->control, problem) == 0, "%s",
	              problem);
	ask("version\n");
	HAS("\"ok\":true");
}
END_TEST

START_TEST(other_files_are_left_alone)
{
	char problem[CONTROL_PROBLEM_MAX], other[128];
	struct control *none = NULL;

	snprintf(other, sizeof other, "%s/file.sock", folder);
	close(open(other, O_CREAT | O_WRONLY, 0600));
	strcpy(s->policy.control_socket, other);
	ck_assert_int_lt(control_start(s, &s->policy, "web", -1, &none, problem), 0);
	ck_assert_int_eq(unlink(other), 0);
	ck_assert_int_eq(symlink("/tmp/nowhere", other), 0);
	ck_assert_int_lt(control_start(s, &s->policy, "web", -1, &none, problem), 0);
	ck_assert_int_eq(unlink(other), 0);
	ck_assert_ptr_null(none);
}
END_TEST

/* Somebody removed our file and made one of his own: his stays. */
START_TEST(only_our_own_path_is_unlinked)
{
	char problem[CONTROL_PROBLEM_MAX];

	ck_assert_int_eq(unlink(path), 0);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	control_stop(s->control, 0);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	s->control = NULL;
	ck_assert_int_eq(access(path, F_OK), 0);
	ck_assert_int_eq(unlink(path), 0);
	(void)problem;
}
END_TEST

START_TEST(unsafe_folders_are_refused)
{
	char problem[CONTROL_PROBLEM_MAX], inner[96];
	struct control *none = NULL;

	snprintf(inner, sizeof inner, "%s/inner", folder);
	snprintf(s->policy.control_socket, sizeof s->policy.control_socket, "%s/x.sock", inner);
	ck_assert_int_eq(mkdir(inner, 0700), 0);
	ck_assert_int_eq(chmod(inner, 0777), 0);
	ck_assert_int_eq(control_start(s, &s->policy, "web", -1, &none, problem), -EPERM);
	ck_assert_ptr_nonnull(strstr(problem, "others may write"));
	if (geteuid() == 0) {
		ck_assert_int_eq(chmod(inner, 0700), 0);
		ck_assert_int_eq(chown(inner, 65534, 65534), 0);
		ck_assert_int_eq(control_start(s, &s->policy, "web", -1, &none, problem), -EPERM);
		ck_assert_ptr_nonnull(strstr(problem, "another user"));
	}
	ck_assert_int_eq(rmdir(inner), 0);
	ck_assert_int_eq(symlink(folder, inner), 0);
	if (geteuid() == 0) {
		ck_assert_int_eq(lchown(inner, 65534, 65534), 0);
		ck_assert_int_eq(control_start(s, &s->policy, "web", -1, &none, problem), -EPERM);
		ck_assert_ptr_nonnull(strstr(problem, "link of another user"));
		ck_assert_int_eq(lchown(inner, 0, 0), 0);
	}
	/* one of ours is followed, as /var/run is */
	ck_assert_msg(control_start(s, &s->policy, "web", -1, &none, problem) == 0, "%s", problem);
	control_stop(none, 0);
	uv_run(&s->loop, UV_RUN_NOWAIT);
	ck_assert_int_eq(unlink(inner), 0);
	/* a missing one is made, for us alone */
	ck_assert_msg(control_start(s, &s->policy, "web", -1, &none, problem) == 0, "%s", problem);
	control_stop(none, 0);
	uv_run(&s->loop, UV_RUN_NOWAIT);
	ck_assert_int_eq(rmdir(inner), 0);
}
END_TEST

START_TEST(long_path_is_refused)
{
	char problem[CONTROL_PROBLEM_MAX];
	struct control *none = NULL;

	memset(s->policy.control_socket, 'x', 200);
	ck_assert_int_eq(control_start(s, &s->policy, "web", -1, &none, problem), -ENAMETOOLONG);
	strcpy(s->policy.control_socket, "off");
	ck_assert_int_eq(control_start(s, &s->policy, "web", -1, &none, problem), 0);
	ck_assert_ptr_null(none);
	control_report(NULL, &(struct report){ .what = REPORT_READY });
	control_log_line(NULL, "{}", 2);
	control_stop(NULL, 0);
	ck_assert_int_eq(control_fd(NULL), -1);
}
END_TEST

/* After an upgrade the same socket is taken over, and unlinked by whoever has it last. */
START_TEST(socket_is_taken_over)
{
	char problem[CONTROL_PROBLEM_MAX];
	int fd = dup(control_fd(s->control)), client = dial();
	struct control *old = s->control;
	struct stat before, after;

	ck_assert_int_eq(stat(path, &before), 0);
	ck_assert_msg(control_start(s, &s->policy, "web", fd, &s->control, problem) == 0, "%s",
	              problem);
	ck_assert_str_eq(control_path(s->control), path);
	(void)old; /* in an upgrade it is gone with the old program; here its handles are closed */
	control_stop(old, 0);
	ck_assert_int_eq(stat(path, &after), -1);
	close(client);
}
END_TEST

/* The socket goes and comes back, as often as that happens; who was connected stays so. */
START_TEST(a_path_that_is_gone_is_made_anew)
{
	char problem[CONTROL_PROBLEM_MAX];
	int client = dial();

	turns(3);
	ck_assert_int_eq(control_keep(s->control, &s->policy, problem), 0);
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(unlink(path), 0);
		if (i == 50)
			ck_assert_int_eq(rmdir(folder), 0);
		ck_assert_int_eq(control_keep(s->control, &s->policy, problem), 1);
		ck_assert_int_eq(control_keep(s->control, &s->policy, problem), 0);
		ask("version\n");
		HAS("\"ok\":true");
	}
	say(client, "version\n");
	listen_for(client, 1);
	HAS("\"ok\":true");
	close(client);
}
END_TEST

/* It is told once, and left alone. */
START_TEST(a_path_that_is_another_s_is_left_alone)
{
	char problem[CONTROL_PROBLEM_MAX];

	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(control_keep(s->control, &s->policy, problem), -EEXIST);
	ck_assert_ptr_nonnull(strstr(problem, path));
	ck_assert_int_eq(control_keep(s->control, &s->policy, problem), 0);
	ck_assert_int_eq(rmdir(path), 0);
	ck_assert_int_eq(control_keep(s->control, &s->policy, problem), 1);
	ask("version\n");
	HAS("\"ok\":true");
}
END_TEST

/* Nobody gets through to a queue that is full: whether the path is ours can not be told then. */
START_TEST(taken_over_with_a_full_queue)
{
	char problem[CONTROL_PROBLEM_MAX];
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int stale = socket(AF_UNIX, SOCK_STREAM, 0), fd;
	struct control *old;
	struct stat before, after;

	control_stop(s->control, 0);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	strcpy(sa.sun_path, path);
	ck_assert_int_eq(bind(stale, (struct sockaddr *)&sa, sizeof sa), 0);
	close(stale);
	ck_assert_int_eq(control_start(s, &s->policy, "web", -1, &s->control, problem), 0);
	old = s->control;
	ck_assert_int_eq(stat(path, &before), 0);
	while (dial() >= 0)
		;
	fd = dup(control_fd(old));
	ck_assert_int_eq(control_start(s, &s->policy, "web", fd, &s->control, problem), 0);
	ck_assert_str_eq(control_path(s->control), path);
	ck_assert_int_eq(control_keep(s->control, &s->policy, problem), 0);
	ck_assert_int_eq(stat(path, &after), 0);
	ck_assert_uint_eq(after.st_ino, before.st_ino);
	control_stop(old, 0);
}
END_TEST

/* 40 at the same moment: one has it, 39 are told by whom. */
START_TEST(simultaneous_starts)
{
	enum { STARTERS = 40 };
	int gate[2], won = 0, lost = 0;
	char byte;

	control_stop(s->control, 0);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	s->control = NULL;
	ck_assert_int_eq(pipe(gate), 0);
	for (int i = 0; i < STARTERS; i++) {
		if (fork() == 0) {
			char problem[CONTROL_PROBLEM_MAX];
			int r;

			close(gate[1]);
			if (read(gate[0], &byte, 1) != 0)
				_exit(9);
			uv_loop_fork(&s->loop);
			r = control_start(s, &s->policy, "web", -1, &s->control, problem);
			if (r == -EADDRINUSE)
				_exit(strstr(problem, "process") ? 73 : 8);
			if (r < 0)
				_exit(7);
			usleep(3000000); /* outlives all other attempts: it is killed below */
			_exit(0);
		}
	}
	close(gate[0]);
	close(gate[1]);
	for (int i = 0; i < STARTERS; i++) {
		int status;

		ck_assert_int_gt(wait(&status), 0);
		ck_assert(WIFEXITED(status));
		won += WEXITSTATUS(status) == 0;
		lost += WEXITSTATUS(status) == 73;
	}
	ck_assert_int_eq(won, 1);
	ck_assert_int_eq(lost, STARTERS - 1);
	ck_assert_int_eq(unlink(path), 0);
}
END_TEST

START_TEST(users_and_groups)
{
	static const struct {
		const char *name;
		uint32_t number;
		bool known;
	} names[] = {
		{ "root", 0, true },       { "0", 0, true },    { "4294967294", 4294967294, true },
		{ "4294967295", 0, false }, { "-1", 0, false }, { "0x1", 0, false },
		{ "", 0, false },           { "no-such-name", 0, false },
	};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		uid_t user = 7;
		gid_t group = 7;

		ck_assert_int_eq(owner_user(names[i].name, &user), names[i].known ? 0 : -ENOENT);
		ck_assert_int_eq(owner_group(names[i].name, &group), names[i].known ? 0 : -ENOENT);
		ck_assert_uint_eq(user, names[i].known ? names[i].number : 7);
		ck_assert_uint_eq(group, names[i].known ? names[i].number : 7);
	}
}
END_TEST

static void add_tests(TCase *tests)
{
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, mode_and_owner);
	tcase_add_test(tests, who_may_ask);
	tcase_add_test(tests, second_server_is_refused);
	tcase_add_test(tests, stale_socket_is_replaced);
	tcase_add_test(tests, other_files_are_left_alone);
	tcase_add_test(tests, only_our_own_path_is_unlinked);
	tcase_add_test(tests, unsafe_folders_are_refused);
	tcase_add_test(tests, long_path_is_refused);
	tcase_add_test(tests, socket_is_taken_over);
	tcase_add_test(tests, a_path_that_is_gone_is_made_anew);
	tcase_add_test(tests, a_path_that_is_another_s_is_left_alone);
	tcase_add_test(tests, taken_over_with_a_full_queue);
	tcase_add_test(tests, simultaneous_starts);
	tcase_add_test(tests, users_and_groups);
}

int main(void)
{
	return run_suite("glue/control_path", add_tests);
}
